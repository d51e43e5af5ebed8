"""Adding and joining large arrays, shared out over workers (float32).

Little is computed here: it is the memory that one core alone cannot keep busy.
"""

import numpy as np

from tinydiff.kernels.workers import SMALL, empty, parallel


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

    def work(low, high, _):
        np.concatenate([a[low:high] for a in arrays], axis=axis, out=y[low:high])

    parallel(work, len(y), len(y), y.size)
    return y
