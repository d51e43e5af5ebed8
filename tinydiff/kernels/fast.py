"""Products and elementwise chains shared out over workers, a cache-full at a time (float32)."""

import numpy as np

from tinydiff.kernels.workers import parallel, parallel_sum, single_threaded_blas

_CHUNK = 1 << 16  # elements of a chain that stay in a worker's cache
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


def logistic(z, out):
    """1 / (1 + e⁻ᶻ) in place of ``out``; e⁻ᶻ may overflow to ∞, which gives the right 0."""
    with np.errstate(over="ignore"):
        np.negative(z, out=out)
        np.exp(out, out=out)
    np.add(out, np.float32(1), out=out)
    np.reciprocal(out, out=out)


def silu(x):
    """`plain.silu`"""
    y, s = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    flat = np.ascontiguousarray(x).reshape(-1), y.reshape(-1), s.reshape(-1)

    def work(low, high, _):
        p, q, r = (v[low:high] for v in flat)
        logistic(p, out=r)
        np.multiply(p, r, out=q)

    parallel(work, x.size, _CHUNK, x.size)
    return y, s


def silu_slope(y, s, out):
    """d(x·σ)/dx = σ + y·(1 − σ) in ``out``"""
    np.subtract(np.float32(1), s, out=out)
    np.multiply(out, y, out=out)
    np.add(out, s, out=out)


def silu_grad(g, y, s):
    """`plain.silu_grad`"""
    gx = np.empty(g.shape, np.float32)
    flat = np.ascontiguousarray(g).reshape(-1), y.reshape(-1), s.reshape(-1), gx.reshape(-1)

    def work(low, high, _):
        a, p, q, r = (v[low:high] for v in flat)
        silu_slope(p, q, out=r)
        np.multiply(a, r, out=r)

    parallel(work, g.size, _CHUNK, g.size)
    return gx
