"""Multi-head attention: h attentions side by side, each on its own d/h channels.

    head_i = softmax(Q_i K_iᵀ / √(d/h)) V_i,    y = [head_1 … head_h] W_o + b_o

Q = x W_q + b_q;  K and V likewise from x, or from a context (cross-attention).

Source: A. Vaswani et al., "Attention is all you need", 2017, section 3.2.2.
"""

from __future__ import annotations

from tinydiff import ops
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one, divides
from tinydiff.nn.linear import Linear
from tinydiff.nn.module import Module


class MultiHeadAttention(Module):
    """x (N, T, embed_dim), context (N, S, context_dim) or none → (N, T, embed_dim).

    context_dim  channels of the context, embed_dim if not given
    bias         whether q, k and v have one; the output projection always has

    W_q, W_k, W_v begin as Xavier, W_o by fan-in, biases at zero.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, *, context_dim: int | None = None, bias: bool = True
    ):
        context_dim = embed_dim if context_dim is None else context_dim
        sizes = {"embed_dim": embed_dim, "num_heads": num_heads, "context_dim": context_dim}
        at_least_one("MultiHeadAttention", **sizes)
        divides("MultiHeadAttention", "num_heads", num_heads, embed_dim=embed_dim)
        self.num_heads = num_heads
        self.query = _projection(embed_dim, embed_dim, bias)
        self.key = _projection(context_dim, embed_dim, bias)
        self.value = _projection(context_dim, embed_dim, bias)
        self.out = Linear(embed_dim, embed_dim)
        self.out.bias = init.zeros((embed_dim,))

    def forward(self, x, context=None, mask=None):
        """mask (T, S) or (N, T, S): True where a query may look, or numbers added to scores."""
        if len(x.shape) != 3:
            raise ValueError(f"MultiHeadAttention: x has shape {x.shape}, expected (N, T, C)")
        context = x if context is None else context
        if mask is not None and len(mask.shape) == 3:
            mask = mask[:, None]  # the same for every head
        q, k, v = self.query(x), self.key(context), self.value(context)
        y = ops.attention(self._heads(q), self._heads(k), self._heads(v), mask=mask)
        return self.out(y.transpose(0, 2, 1, 3).reshape(x.shape))

    def _heads(self, x):
        """(N, T, C) → (N, heads, T, C/heads)"""
        n, t, c = x.shape
        return x.reshape(n, t, self.num_heads, c // self.num_heads).transpose(0, 2, 1, 3)


def _projection(in_features: int, out_features: int, bias: bool) -> Linear:
    layer = Linear(in_features, out_features, bias)
    layer.weight = init.xavier((in_features, out_features))
    if bias:
        layer.bias = init.zeros((out_features,))
    return layer
