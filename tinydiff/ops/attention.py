"""Scaled dot-product attention.

Source: A. Vaswani et al., "Attention is all you need", 2017, equation 1.
"""

import math

from tinydiff import backend, kernels
from tinydiff.backend import xp
from tinydiff.tensor import Tensor, op


def attention(q, k, v, *, mask=None) -> Tensor:
    """softmax(q kᵀ / √d + mask) v: q (…, T, d), k (…, S, d), v (…, S, e) → (…, T, e)

    mask: boolean (…, T, S), True where a query may look, or floats added to the scores.
    Every query must be allowed at least one key.
    """
    shapes = (q.shape, k.shape, v.shape)
    if min(map(len, shapes)) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"attention: q, k, v are {shapes}, expected (…, T, d), (…, S, d), (…, S, e)"
        )
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise ValueError(f"attention: q, k, v are {shapes}: their leading axes differ")
    if k.shape[-2] == 0:
        raise ValueError(f"attention: k {k.shape} has no keys to look at")
    if mask is not None:
        mask = _checked(mask, (*q.shape[:-1], k.shape[-2]))
    return _attention(q, k, v, mask)


def _checked(mask, scores: tuple[int, ...]):
    """The mask as numbers to add to the scores, which have the given shape."""
    data = mask.data if isinstance(mask, Tensor) else mask  # on the host, if it comes from there
    data = data if hasattr(data, "dtype") else backend.asarray(data)
    if data.ndim > len(scores) or any(
        m not in (1, n) for m, n in zip(data.shape[::-1], scores[::-1], strict=False)
    ):
        raise ValueError(f"attention: mask {data.shape} does not fit the scores {scores}")
    if data.dtype.kind not in "bf":
        raise TypeError(f"attention: mask must be boolean or floating point, got {data.dtype}")
    if not kernels.is_capturing():  # of what is recorded for later, nothing is in it yet: whoever
        # records must look at it before (as `words_in` does)
        allowed = data if data.dtype.kind == "b" else data != -math.inf
        if not allowed.any(axis=-1).all():
            raise ValueError("attention: the mask leaves some query without any key")
    return xp.where(backend.asarray(data), 0.0, -xp.inf) if data.dtype.kind == "b" else mask


@op
def _attention(q, k, v, mask):
    scale = 1 / math.sqrt(q.shape[-1])
    y, saved = kernels.attention(q, k, v, mask, scale)

    def gradients(g):
        # Laid out as their inputs; beyond four axes the kernels want axes they can merge.
        out = [xp.empty_like(a, order="K" if a.ndim <= 4 else "C") for a in (q, k, v)]
        return *out, kernels.attention_grad(g, q, k, v, mask, saved, scale, out)

    return y, lambda needed: gradients


@op
def self_attention(qkv, *, heads: int):
    """Multi-head attention of tokens to each other: (N, T, 3·C) → (N, T, C)

    qkv holds q, k and v side by side, and each of them its heads: C/heads numbers a head.
    """
    ok = qkv.ndim == 3 and qkv.shape[1] > 0 and isinstance(heads, int) and heads > 0
    if not ok or qkv.shape[2] % (3 * heads):
        raise ValueError(
            f"self_attention: qkv has shape {qkv.shape}, expected (N, T, 3·C) with T > 0 and C "
            f"divisible by heads={heads}"
        )
    n, t, c = qkv.shape
    size = c // (3 * heads)
    scale = 1 / math.sqrt(size)

    def parts(a):
        """q, k, v as views (N, heads, T, d)"""
        return a.reshape(n, t, 3, heads, size).transpose(2, 0, 3, 1, 4)

    q, k, v = parts(qkv)
    y, saved = kernels.attention(q, k, v, None, scale)

    def gradient(g):
        g = g.reshape(n, t, heads, size).transpose(0, 2, 1, 3)
        gqkv = xp.empty_like(qkv)
        kernels.attention_grad(g, q, k, v, None, saved, scale, parts(gqkv))
        return gqkv

    return y.transpose(0, 2, 1, 3).reshape(n, t, heads * size), (gradient,)
