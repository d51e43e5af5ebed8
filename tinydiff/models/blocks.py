"""The two blocks a diffusion U-Net is made of; the residual one, and rows of it, serve others too.

Source: J. Ho et al., "Denoising diffusion probabilistic models", 2020, appendix B.
"""

from collections.abc import Sequence

from tinydiff import nn, ops
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class ResidualBlock(nn.Module):
    """x + conv(drop(silu(norm(conv(silu(norm(x))) + W·embedding))))

    x (N, H, W, in), embedding (N, size), already activated → (N, H, W, out).  The last
    convolution starts at zero, so the block starts as the identity; where the number of channels
    changes, x passes through a 1×1 convolution.  ``embedding`` None: there is none to add.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding: int | None = None,
        *,
        groups: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, silu=True)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.embed = None if embedding is None else nn.Linear(embedding, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, silu=True)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        same = in_channels == out_channels
        self.shortcut = None if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.conv1(self.norm1(x))
        if self.embed is not None:
            h = h + self.embed(embedding).reshape(len(x), 1, 1, -1)
        h = self.conv2(self.dropout(self.norm2(h)))
        return h + (x if self.shortcut is None else self.shortcut(x))


def residual_stages(
    owner: str, in_channels: int, widths: Sequence[int], blocks: Sequence[int], *, groups: int
) -> nn.Sequential:
    """At each resolution a 3×3 convolution to its width, then so many `ResidualBlock`s.

    (N, H, W, in_channels) → (N, H', W', widths[-1]): the first convolution keeps the resolution,
    the others, of stride 2, halve it, odd sides rounded up.  What comes out is not normalised yet.
    Raises ValueError, in the name of ``owner``, unless there is a number of blocks for each width
    and ``groups`` divides the widths.
    """
    at_least_one(owner, in_channels=in_channels, norm_groups=groups)
    if not widths or len(widths) != len(blocks) or min(blocks) < 0:
        raise ValueError(
            f"{owner}: widths {tuple(widths)}, blocks {tuple(blocks)}: "
            "expected one number of blocks ≥ 0 for each width"
        )
    if any(width < 1 or width % groups for width in widths):
        raise ValueError(
            f"{owner}: norm_groups={groups} does not divide the widths {tuple(widths)}"
        )
    layers: list[nn.Module] = []
    before, stride = in_channels, 1
    for width, count in zip(widths, blocks, strict=True):
        layers.append(nn.Conv2d(before, width, 3, stride=stride, padding=1))
        layers += [ResidualBlock(width, width, groups=groups) for _ in range(count)]
        before, stride = width, 2
    return nn.Sequential(*layers)


class SelfAttentionBlock(nn.Module):
    """x + proj(attention(q, k, v)): every pixel looks at every other

    q, k, v are linear in norm(x); (N, H, W, C) → (N, H, W, C).  The projection starts at zero.
    """

    def __init__(self, channels: int, *, groups: int, heads: int = 1):
        super().__init__()
        if channels % heads:
            raise ValueError(f"heads={heads} does not divide {channels} channels")
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zero_init(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, h * w, 3 * c)
        out = ops.self_attention(qkv, heads=self.heads)
        return x + self.proj(out.reshape(n, h, w, c))


def zero_init(layer: nn.Module) -> nn.Module:
    """The layer, with weight and bias set to zero."""
    for parameter in layer.parameters():
        parameter.data[...] = 0
    return layer
