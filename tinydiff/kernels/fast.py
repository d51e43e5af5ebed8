"""Products of matrices and sums of rows, shared out over workers (float32)."""

import math

import numpy as np

from tinydiff.kernels.workers import empty, parallel, parallel_sum, single_threaded_blas

_TINY = 1 << 15  # multiplications that BLAS never shares among threads, whatever it may do
SMALL = 1_000_000  # those of a product that BLAS does without first copying its factors


def multiply_rows(a, b, out) -> None:
    """out = a @ b, (…, many, k) @ (…, k, m), in stretches of rows that BLAS takes as they lie

    Measured to pay for stretches of some length, and always where the results fill whole registers.
    """
    rows, stretch = a.shape[-2], _stretch(b.shape[-2] * b.shape[-1])
    least = 16 if b.shape[-1] in (32, 64) else 64
    whole = rows // stretch * stretch if stretch >= least else 0
    if whole:
        b = np.ascontiguousarray(b)
        parts, into = (_stretches(c[..., :whole, :], stretch) for c in (a, out))
        np.matmul(parts, b[..., None, :, :], out=into)
    if whole < rows:
        np.matmul(a[..., whole:, :], b, out=out[..., whole:, :])


def multiply_columns(a, b, out) -> None:
    """out = aᵀ @ b, (many, k) and (many, m), likewise where there is little to be summed up"""
    stretch = _stretch(out.size)
    whole = len(a) // stretch * stretch if stretch >= 100 else 0
    if whole == 0:
        np.matmul(a.T, b, out=out)
        return
    across = _stretches(a[:whole], stretch).swapaxes(1, 2)
    np.matmul(across, _stretches(b[:whole], stretch)).sum(axis=0, out=out)
    if whole < len(a):
        out += a[whole:].T @ b[whole:]


def _stretch(each: int) -> int:
    """How many rows of so many multiplications make a small product: a multiple of 16"""
    return SMALL // max(each, 1) // 16 * 16


def _stretches(a, length: int):
    return a.reshape(*a.shape[:-2], -1, length, a.shape[-1])


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
    y = empty(*rows.shape[:-1], b.shape[-1])

    def work(low, high, _):
        if b.ndim == 2:
            multiply_rows(rows[low:high], b, y[low:high])
        else:
            np.matmul(rows[low:high], b[low:high], out=y[low:high])

    parallel(work, len(rows), len(rows), a.size + y.size)
    return y.reshape(*lead, b.shape[-1])


def linear(x, weight, bias):
    """`plain.linear`"""
    if bias is None:
        return matmul(x, weight)
    y = empty(len(x), weight.shape[1])

    def work(low, high, _):
        multiply_rows(x[low:high], weight, y[low:high])
        np.add(y[low:high], bias, out=y[low:high])

    parallel(work, len(x), len(x), x.size + y.size)
    return y


def matmul_t(a, b):
    """`plain.matmul_t`"""

    def work(low, high, out):
        multiply_columns(a[low:high], b[low:high], out)

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
