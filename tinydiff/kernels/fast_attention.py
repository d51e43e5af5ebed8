"""Attention a few heads at a time, so that their weights never leave the cache (float32).

With E = exp(S − m), S = scale·q kᵀ + mask and m its largest number in each row (or 0, where no
number is large), r = 1/Σ E:

    y  = r·(E v)
    ∂v = Eᵀ g',   ∂S = E ⊙ (g' vᵀ − δ),   ∂q = scale·∂S k,   ∂k = scale·∂Sᵀ q

where g' = r·g and δ = Σ g' ⊙ y, row by row.  E is T × S numbers a head, more than all the rest
together; the gradient works it out anew instead of reading it back from memory, which takes as
long, and keeps only m and r.

Source: T. Dao et al., "FlashAttention", 2022, section 3.1 and appendix B.
"""

import numpy as np

from tinydiff.kernels.fast import multiply_rows
from tinydiff.kernels.workers import parallel, scratch

_CHUNK = 1 << 17  # weights at a time
_HARMLESS = 30  # scores that size need no m: neither their exponentials nor sums of them overflow


def attention(q, k, v, mask, scale):
    """`plain.attention`"""
    scale = np.float32(scale)
    y = _side_by_side(*q.shape[:-1], v.shape[-1])
    largest, rest = (np.empty((*q.shape[:-1], 1), np.float32) for _ in range(2))
    ones = np.ones((k.shape[-2], 1), np.float32)

    def work(q, k, v, mask, y, largest, rest):
        e = _scores(q, k, mask, scale)
        if e.min() > -_HARMLESS and e.max() < _HARMLESS:
            largest[...] = 0
        else:
            np.max(e, axis=3, keepdims=True, out=largest)
            np.subtract(e, largest, out=e)
        np.exp(e, out=e)
        np.reciprocal(np.matmul(e, ones), out=rest)
        multiply_rows(e, v, y)
        np.multiply(y, rest, out=y)

    _by_heads(work, k.shape[-2], q, k, v, _everywhere(mask, q, k), y, largest, rest)
    return y, (y, largest, rest)


def attention_grad(g, q, k, v, mask, saved, scale, out):
    """`plain.attention_grad`"""
    y, largest, rest = saved
    scale = np.float32(scale)
    gs = None if mask is None else np.empty((*q.shape[:-1], k.shape[-2]), np.float32)

    def work(g, q, k, v, mask, y, largest, rest, gq, gk, gv, gs):
        e = _scores(q, k, mask, scale)
        if largest.any():
            np.subtract(e, largest, out=e)
        np.exp(e, out=e)
        scaled = g * rest
        multiply_rows(e.swapaxes(2, 3), scaled, gv)
        slope = scratch("slope", *e.shape) if gs is None else gs
        np.matmul(scaled, v.swapaxes(2, 3), out=slope)
        np.subtract(slope, (scaled * y).sum(axis=3, keepdims=True), out=slope)
        np.multiply(slope, e, out=slope)
        multiply_rows(slope, k * scale, gq)
        multiply_rows(slope.swapaxes(2, 3), q * scale, gk)

    mask = _everywhere(mask, q, k)
    _by_heads(work, k.shape[-2], g, q, k, v, mask, y, largest, rest, *out, gs)
    return gs


def _scores(q, k, mask, scale):
    s = scratch("scores", *q.shape[:3], k.shape[2])
    np.matmul(q * scale, k.swapaxes(2, 3), out=s)
    return s if mask is None else np.add(s, mask, out=s)


def _side_by_side(*shape: int) -> np.ndarray:
    """(…, heads, T, e) whose memory runs (…, T, heads, e), so that the heads join without a copy"""
    if len(shape) < 3:
        return np.empty(shape, np.float32)
    *lead, heads, t, e = shape
    return np.empty((*lead, t, heads, e), np.float32).swapaxes(-2, -3)


def _everywhere(mask, q, k):
    return None if mask is None else np.broadcast_to(mask, (*q.shape[:-1], k.shape[-2]))


def _by_heads(work, keys: int, *arrays) -> None:
    """Call work on a few heads at a time of arrays (…, heads, ·, ·); the first is (…, T, ·)."""
    arrays = [a if a is None else _images_and_heads(a) for a in arrays]
    images, heads, queries, size = arrays[0].shape
    if images < heads:  # the longer axis is the one to be shared out among the workers
        arrays = [a if a is None else a.swapaxes(0, 1) for a in arrays]
        images, heads = heads, images
    weights = queries * keys
    at_once = max(1, _CHUNK // weights)

    def share(low: int, high: int, _: int) -> None:
        for first in range(0, heads, at_once):
            part = slice(low, high), slice(first, first + at_once)
            work(*(a if a is None else a[part] for a in arrays))

    parallel(share, images, at_once // heads, images * heads * weights * size)


def _images_and_heads(a):
    if a.ndim > 4:
        return a.reshape(-1, *a.shape[-3:])
    return a[(None,) * (4 - a.ndim)]
