"""One layer of a transformer: what the entries of a sequence say to each other, and what each makes
of it.

    h = h + attention(LN(h)),   h = h + W₂ gelu(W₁ LN(h))

Sources: A. Vaswani et al., "Attention is all you need", 2017; normalisation before each part:
R. Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.
"""

from __future__ import annotations

from tinydiff import nn, ops
from tinydiff.tensor import Tensor


class TransformerBlock(nn.Module):
    """h (N, T, width), mask as of `nn.MultiHeadAttention` → like h"""

    def __init__(self, width: int, heads: int):
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiHeadAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, h: Tensor, mask=None) -> Tensor:
        h = h + self.attention(self.norm1(h), mask=mask)
        return h + self.contract(ops.gelu(self.expand(self.norm2(h))))
