"""Scaled dot-product attention.

Source: A. Vaswani et al., "Attention is all you need", 2017, equation 1.
"""

import math

from tinydiff import kernels
from tinydiff.backend import xp
from tinydiff.tensor import Tensor, once, op


def attention(q, k, v, *, mask=None) -> Tensor:
    """softmax(q kᵀ / √d + mask) v: q (…, T, d), k (…, S, d), v (…, S, e) → (…, T, e)

    mask: boolean (…, T, S), True where a query may look, or numbers added to the scores.
    Every query must be allowed at least one key.
    """
    shapes = (q.shape, k.shape, v.shape)
    if min(map(len, shapes)) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"attention: q, k, v are {shapes}, expected (…, T, d), (…, S, d), (…, S, e)"
        )
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        raise ValueError(f"attention: q, k, v are {shapes}: their leading axes differ")
    if mask is not None:
        data = mask.data if isinstance(mask, Tensor) else xp.asarray(mask)
        if data.dtype == bool:
            if not data.any(axis=-1).all():
                raise ValueError("attention: the mask leaves some query without any key")
            mask = xp.where(data, 0.0, -xp.inf)
    return _attention(q, k, v, mask)


@op
def _attention(q, k, v, mask):
    scale = 1 / math.sqrt(q.shape[-1])
    y, p = kernels.attention(q, k, v, mask, scale)
    gradients = once(lambda g: kernels.attention_grad(g, q, k, v, p, scale))
    return y, tuple(lambda g, i=i: gradients(g)[i] for i in range(4))
