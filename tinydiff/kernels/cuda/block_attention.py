"""Attention over blocks of queries: of the T × S scores, no more than a block is ever stored.

With S = scale·q kᵀ + mask, m its largest number in each row, r = 1/Σ e^(S − m):

    p = e^(S − m)·r,   y = p v
    ∂v = pᵀ g,   ∂S = p ⊙ (g vᵀ − Σ p ⊙ g vᵀ),   ∂q = scale·∂S k,   ∂k = scale·∂Sᵀ q

The products are cuBLAS's, on q, k and v as they lie in memory.  Only m and r are kept for the
gradient, which works out p anew.  A block is as many images as fit with all their queries (mostly
all of them: then there is one block), or some queries of one image.

Source: M. Rabe & C. Staats, "Self-attention does not need O(n²) memory", 2021.
"""

import cupy

from tinydiff.kernels.cuda.product import product
from tinydiff.kernels.cuda.row_softmax import softmax_again_and_grad, softmax_in_place

WORKSPACE = 1 << 28  # bytes of scores in a block; the gradient holds as many slopes besides


def attention(q, k, v, mask, scale):
    """`plain.attention`; q has at most four axes where there is a mask."""
    y = _side_by_side(*q.shape[:-1], v.shape[-1], q.dtype)
    return y, [_block(*arrays, scale) for _, arrays in _blocks((q, mask, y), (k, v))]


def _block(q, mask, y, k, v, scale):
    scores = _scores(q, k, mask, scale)
    kept = softmax_in_place(scores)
    product(scores, v, y)
    return kept


def attention_grad(g, q, k, v, mask, saved, scale, out):
    """`plain.attention_grad`, but that ∂/∂mask has the mask's own shape"""
    gq, gk, gv = out
    gmask = None if mask is None else cupy.zeros_like(mask)
    blocks = _blocks((g, q, mask, gq, gmask), (k, v, gk, gv))
    for (seen, arrays), kept in zip(blocks, saved, strict=True):
        _block_grad(*arrays, kept, scale, keep=float(seen))
    return gmask


def _block_grad(g, q, mask, gq, gmask, k, v, gk, gv, kept, scale, keep):
    """keep: 1 where queries before these have looked at the same keys, else 0"""
    p = _scores(q, k, mask, scale)
    slope = cupy.empty_like(p)
    product(g, v.swapaxes(2, 3), slope)
    softmax_again_and_grad(p, slope, kept)
    product(p.swapaxes(2, 3), g, gv, 1.0, keep)
    product(slope.swapaxes(2, 3), q, gk, scale, keep)
    product(slope, k, gq, scale)
    if mask is not None:
        shared = tuple(i for i in range(4) if gmask.shape[i] < slope.shape[i])
        gmask += slope.sum(axis=shared, keepdims=True) if shared else slope


def _scores(q, k, mask, scale):
    scores = cupy.empty((*q.shape[:3], k.shape[2]), q.dtype)
    if mask is not None:
        scores[...] = mask
    product(q, k.swapaxes(2, 3), scores, scale, 0.0 if mask is None else 1.0)
    return scores


def _side_by_side(*shape_and_dtype):
    """(…, heads, T, e) whose memory runs (…, T, heads, e), so that the heads join without a copy"""
    *shape, dtype = shape_and_dtype
    if len(shape) < 3:
        return cupy.empty(shape, dtype)
    *lead, heads, t, e = shape
    return cupy.empty((*lead, t, heads, e), dtype).swapaxes(-2, -3)


def _blocks(by_query, by_key):
    """(whether queries before have seen these keys, parts of all the arrays), block by block

    The first array is (…, T, ·) and the first by key (…, S, ·); masks may be None, or have axes of
    length 1 that stand for any length.
    """
    by_query, by_key = ([_four_axes(a) for a in arrays] for arrays in (by_query, by_key))
    n, heads, queries, _ = by_query[0].shape
    row = heads * by_key[0].shape[2] * by_key[0].itemsize
    at_once = _even(n, WORKSPACE // (row * queries))
    some = queries if at_once else _even(queries, max(1, WORKSPACE // row))
    for i in range(0, n, at_once or 1):
        images = slice(i, i + (at_once or 1))
        keys = [a[images] for a in by_key]
        for t in range(0, queries, some):
            parts = [_part(a, images, slice(t, t + some)) for a in by_query]
            yield t > 0, (*parts, *keys)


def _even(n: int, most: int) -> int:
    """How many of n at a time, at most so many, that all turns are about equal; 0 if most is 0"""
    return -(-n // -(-n // most)) if most else 0


def _part(a, images: slice, queries: slice):
    if a is None:
        return None
    everything = slice(None)
    return a[images if a.shape[0] > 1 else everything, :, queries if a.shape[2] > 1 else everything]


def _four_axes(a):
    if a is None or a.ndim == 4:
        return a
    return a.reshape(-1, *a.shape[-3:]) if a.ndim > 4 else a[(None,) * (4 - a.ndim)]
