"""Where a picture is told something: its pixels, as a sequence, look at the words of a caption.

    h = W_in GN(x), one token a pixel
    h = h + attention(LN(h)),   h = h + attention(LN(h), context),   h = h + MLP(LN(h))     × depth
    y = x + W_out h

attention(h, context) has its queries from the pixels, its keys and values from the context:

    softmax(Q Kᵀ/√d) V,   Q = h W_q,   K = c W_k,   V = c W_v,   c = τ_θ(caption)

and the MLP's first layer is gated, GEGLU(h) = (h W₁) ⊙ gelu(h W₂).

Sources: R. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
section 3.3 and table 15, whose parts stand here in the order of their code, the MLP last;
N. Shazeer, "GLU Variants Improve Transformer", 2020.
"""

from __future__ import annotations

from tinydiff import nn, ops
from tinydiff.models.blocks import zero_init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class SpatialTransformer(nn.Module):
    """x (N, H, W, channels), context (N, M, context_dim), mask → like x

    mask   (N, 1, M), True where the context may be looked at, or None: everywhere
    heads  of attention, each with its share of the channels
    depth  how often pixels look at each other, then at the context

    The 1×1 convolutions are the linear layers ``enter`` and ``leave``; the last of them starts at
    zero, so the block starts as the identity.
    """

    def __init__(
        self, channels: int, context_dim: int, *, groups: int, heads: int = 1, depth: int = 1
    ):
        at_least_one("SpatialTransformer", context_dim=context_dim, depth=depth)
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.enter = nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(_Block(channels, context_dim, heads) for _ in range(depth))
        self.leave = zero_init(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor, mask=None) -> Tensor:
        n, height, width, channels = x.shape
        h = self.enter(self.norm(x)).reshape(n, height * width, channels)
        for block in self.blocks:
            h = block(h, context, mask)
        return x + self.leave(h).reshape(x.shape)


class _Block(nn.Module):
    def __init__(self, channels: int, context_dim: int, heads: int):
        self.norm1 = nn.LayerNorm(channels)
        self.pixels = nn.MultiHeadAttention(channels, heads, bias=False)
        self.norm2 = nn.LayerNorm(channels)
        self.words = nn.MultiHeadAttention(channels, heads, context_dim=context_dim, bias=False)
        self.norm3 = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 8 * channels)  # two times 4: a value and a gate
        self.contract = nn.Linear(4 * channels, channels)

    def forward(self, h: Tensor, context: Tensor, mask) -> Tensor:
        h = h + self.pixels(self.norm1(h))
        h = h + self.words(self.norm2(h), context, mask)
        value, gate = ops.split(self.expand(self.norm3(h)), 2)
        return h + self.contract(value * ops.gelu(gate))
