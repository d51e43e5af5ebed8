"""Layer norm, which is group norm of one pixel and one group: each row of x by itself (float32).

    y = (x·r − μ·r)·w + b                          r = 1/√(v + ε)
    ∂/∂x = (h − x·p − (mean(h) − μ·p))·r           h = g·w,  p = r²·(mean(h·x) − μ·mean(h))
    ∂/∂w = Σ g·x·r − Σ g·μ·r,  ∂/∂b = Σ g          means over a row, sums over all rows

Rows are short, and there NumPy's own sums are slow; products with a vector, of weights or of ones,
take their place.  Where μ is large beside √v, digits would cancel: x − μ then takes the place of x.
"""

import numpy as np

from tinydiff.kernels.fast_norm import far_from_zero
from tinydiff.kernels.workers import parallel, parallel_sum, scratch

_CHUNK = 1 << 18  # elements of the rows a worker takes at a time


def suits(shape, groups: int, silu: bool) -> bool:
    """One pixel, one group, and nothing after it"""
    return shape[1] == groups == 1 and not silu


def group_norm(x, weight, bias, groups, eps, silu=False):
    """`plain.group_norm` of what suits"""
    rows = np.ascontiguousarray(x[:, 0])
    y = np.empty_like(rows)
    mean, variance = (np.empty((len(rows), 1), np.float32) for _ in range(2))
    eps, average = np.float32(eps), _average(rows)

    def work(low, high, _):
        part, out, mu, v = rows[low:high], y[low:high], mean[low:high], variance[low:high]
        np.matmul(part, average, out=mu)
        v[...] = np.multiply(part, part, out=out) @ average - mu * mu
        if far_from_zero(mu, v):
            part = _less(part, mu)
            mu = part @ average  # what the rounding of the mean left
            v[...] = np.multiply(part, part, out=out) @ average - mu * mu
        r = 1 / np.sqrt(v + eps)
        np.multiply(part, r, out=out)
        np.subtract(out, mu * r, out=out)
        np.multiply(out, weight, out=out)
        np.add(out, bias, out=out)

    parallel(work, len(rows), _CHUNK // rows.shape[1], rows.size)
    return y[:, None], (rows, mean, variance, eps), mean, variance


def group_norm_grad(g, saved, weight):
    """`plain.group_norm_grad`"""
    rows, mean, variance, eps = saved
    g = np.ascontiguousarray(g[:, 0])
    gx = np.empty_like(g)
    average = _average(rows)
    weighted = weight[:, None] * average

    def work(low, high, sums):
        part, slope, out = rows[low:high], g[low:high], gx[low:high]
        mu, v = mean[low:high], variance[low:high]
        if far_from_zero(mu, v):
            part = _less(part, mu)
            mu = part @ average
        r = 1 / np.sqrt(v + eps)
        spare = np.multiply(slope, part, out=scratch("spare", *part.shape))
        h_mean = slope @ weighted
        p = r * r * (spare @ weighted - mu * h_mean)
        sums[0] = r[:, 0] @ spare - (mu * r)[:, 0] @ slope
        sums[1] = np.ones(len(slope), np.float32) @ slope
        np.multiply(slope, weight, out=out)
        np.multiply(part, p, out=spare)
        np.subtract(out, spare, out=out)
        np.subtract(out, h_mean - mu * p, out=out)
        np.multiply(out, r, out=out)

    chunk = _CHUNK // rows.shape[1]
    for_weight, for_bias = parallel_sum(work, len(g), chunk, g.size, (2, g.shape[1]))
    return gx[:, None], for_weight, for_bias


def _average(rows):
    """A column that rows @ column is the mean of each row"""
    channels = rows.shape[1]
    return np.full((channels, 1), 1 / channels, np.float32)


def _less(rows, mean):
    return np.subtract(rows, mean, out=scratch("centred", *rows.shape))
