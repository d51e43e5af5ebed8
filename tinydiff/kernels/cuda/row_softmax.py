"""Softmax along the last axis, a warp or a block for each row: see row_softmax.cu

What attention needs besides: softmax in place, the two numbers of each row from which it can be
had again, and its gradient, also in place.
"""

import cupy

from tinydiff.kernels.cuda.source import Source, rows_for

_kernels = Source("row_softmax")


def softmax(x):
    """eˣ / Σ eˣ along the last axis"""
    x = cupy.ascontiguousarray(x)
    y = cupy.empty_like(x)
    _launch(_kernels.softmax, x, x, y, None, None)
    return y


def softmax_in_place(scores):
    """The same in the place of contiguous scores (…, S); returns m and r, of shape (2, …)"""
    kept = cupy.empty((2, *scores.shape[:-1]), scores.dtype)
    _launch(_kernels.softmax, scores, scores, scores, *kept)
    return kept


def softmax_again_and_grad(scores, slope, kept) -> None:
    """Into contiguous scores their softmax p, and into slope, which holds ∂/∂p, ∂/∂scores"""
    _launch(_kernels.softmax_again_and_grad, scores, scores, slope, *kept)


def _launch(kernel, of, *arrays) -> None:
    length = of.shape[-1]
    rows = of.size // length
    kernel(*rows_for(rows, length), *arrays, rows, length)
