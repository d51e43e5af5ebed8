"""Adding and joining large arrays, shared out over workers (float32).

Little is computed here: it is the memory that one core alone cannot keep busy.
"""

import numpy as np

from tinydiff.kernels.workers import SMALL, empty, parallel, piece, scratch

_BUFFER = 512  # elements: NumPy shall not copy rows of some length before it adds them


def suits(a, b) -> bool:
    """a is large, and b is as large or has axes of length 1 to be repeated."""
    return (
        isinstance(a, np.ndarray)
        and a.size >= SMALL
        and isinstance(b, np.ndarray)
        and a.dtype == b.dtype == np.float32
        and a.ndim == b.ndim
        and all(m in (1, n) for m, n in zip(b.shape, a.shape, strict=True))
    )


def add(a, b, out=None):
    """a + b, into ``out`` if given (it may be a)"""
    y = empty(*a.shape) if out is None else out

    def work(low, high, _):
        np.add(a[low:high], b if len(b) == 1 else b[low:high], out=y[low:high])

    parallel(work, len(a), len(a), a.size)
    return y


def concatenate(arrays, axis: int):
    """np.concatenate, along another axis than the first"""
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    y = empty(*shape)

    join = _join_rows if axis == y.ndim - 1 else np.concatenate

    def work(low, high, _):
        join([a[low:high] for a in arrays], axis=axis, out=y[low:high])

    parallel(work, len(y), len(y), y.size)
    return y


def _join_rows(arrays, axis: int, out) -> None:
    """np.concatenate along the last axis: each row is moved as a single item, which is faster."""
    start = 0
    for a in arrays:
        stop = start + a.shape[-1]
        if a.size:
            row = f"V{a.itemsize * a.shape[-1]}"
            out[..., start:stop].view(row)[...] = np.ascontiguousarray(a).view(row)
        start = stop


def sum_blocks(g, scale: int):
    """`plain.sum_blocks`: over rows of pixels first, which are long, then within what is left"""
    if scale == 1:
        return g.copy()
    g = np.ascontiguousarray(g)
    n, height, width, channels = g.shape
    y = empty(n, height // scale, width // scale, channels)
    bands, sums = g.reshape(-1, scale, width * channels), y.reshape(-1, width // scale, channels)

    def work(low, high, _):
        rows = _sum(bands[low:high], scratch("rows", high - low, width * channels))
        _sum(rows.reshape(high - low, -1, scale, channels), sums[low:high])

    parallel(work, len(sums), piece(g.size) // (width * channels), g.size, _BUFFER)
    return y


def _sum(a, out):
    """Σ over the last axis but one, term by term"""
    np.add(a[..., 0, :], a[..., 1, :], out)
    for k in range(2, a.shape[-2]):
        np.add(out, a[..., k, :], out)
    return out
