"""Products of matrices and sums of rows, shared out over workers (float32)."""

import math

import numpy as np

from tinydiff.kernels.workers import parallel, parallel_sum, single_threaded_blas

_TINY = 1 << 15  # multiplications that BLAS never shares among threads, whatever it may do


def matmul(a, b):
    """`plain.matmul`: shared out over the rows of one matrix, or over a stack of them"""
    if a.size * b.shape[-1] <= _TINY:
        return a @ b
    if b.ndim == 2 and a.flags.c_contiguous:
        rows, lead = a.reshape(-1, a.shape[-1]), a.shape[:-1]
    elif a.shape[:-2] == b.shape[:-2]:
        rows, lead = a, a.shape[:-1]
    else:
        with single_threaded_blas:
            return a @ b
    y = np.empty((*rows.shape[:-1], b.shape[-1]), np.float32)

    def work(low, high, _):
        np.matmul(rows[low:high], b if b.ndim == 2 else b[low:high], out=y[low:high])

    parallel(work, len(rows), len(rows), a.size + y.size)
    return y.reshape(*lead, b.shape[-1])


def linear(x, weight, bias):
    """`plain.linear`"""
    if bias is None:
        return matmul(x, weight)
    y = np.empty((len(x), weight.shape[1]), np.float32)

    def work(low, high, _):
        np.matmul(x[low:high], weight, out=y[low:high])
        np.add(y[low:high], bias, out=y[low:high])

    parallel(work, len(x), len(x), x.size + y.size)
    return y


def matmul_t(a, b):
    """`plain.matmul_t`"""

    def work(low, high, out):
        np.matmul(a[low:high].T, b[low:high], out=out)

    return parallel_sum(work, len(a), len(a), a.size + b.size, (a.shape[1], b.shape[1]))


def sum_rows(a):
    """`plain.sum_rows`: a product with a row of ones, which BLAS does at memory speed"""
    rows = a.reshape(-1, a.shape[-1])
    ones = np.ones((1, len(rows)), np.float32)

    def work(low, high, out):
        np.matmul(ones[:, low:high], rows[low:high], out=out)

    return parallel_sum(work, len(rows), 1 << 12, a.size, (1, a.shape[-1]))[0]


def sum_pixels(a):
    """Σ over the pixels of each image: contiguous (n, H, W, C) → (n, C), on one worker"""
    n, h, w, c = a.shape
    beside = math.gcd(h * w, max(1, 512 // c))  # NumPy is at its best with rows of some length
    ones = np.ones((1, h * w // beside), np.float32)
    sums = np.matmul(ones, a.reshape(n, -1, beside * c))
    return sums.reshape(n, beside, c).sum(axis=1)
