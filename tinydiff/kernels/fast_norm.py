"""Group norm, with the silu that follows it in one go, over images that fit the cache (float32).

Per image and group, with x̂ = (x − μ)·r and r = 1/√(v + ε):

    z = x̂·w + b,  y = z or z·σ(z)
    ∂/∂x = r·(h − mean(h) − x̂·mean(h·x̂))      h = ∂/∂z · w, means over the group

Sums over pixels are products with a row of ones; the variance is summed from x − μ, in a second
pass over what the cache still holds, never as E[x²] − E[x]².
"""

import numpy as np

from tinydiff.kernels.fast import logistic, silu_slope
from tinydiff.kernels.workers import parallel, scratch

_CHUNK = 1 << 18  # elements of the images a worker takes at a time: a megabyte


def group_norm(x, weight, bias, groups, eps, silu=False):
    """`plain.group_norm`"""
    x = np.ascontiguousarray(x)
    n, pixels, channels = x.shape
    mean, variance = (np.empty((n, groups), np.float32) for _ in range(2))
    y = np.empty_like(x)
    s = np.empty_like(x) if silu else None
    rows = _Rows(pixels, channels, groups)

    def work(low, high, _):
        part, out = rows.view(x[low:high]), rows.view(y[low:high])
        mean[low:high] = rows.group_mean(x[low:high])
        centred = scratch("centred", *part.shape)
        np.subtract(part, rows.spread(rows.to_channels(mean[low:high])), out=centred)
        np.multiply(centred, centred, out=out)
        variance[low:high] = rows.group_mean(y[low:high])
        rstd = 1 / np.sqrt(variance[low:high] + np.float32(eps))
        np.multiply(centred, rows.spread(rows.to_channels(rstd) * weight), out=centred)
        if not silu:
            np.add(centred, rows.spread(bias[None]), out=out)
            return
        np.add(centred, rows.spread(bias[None]), out=centred)
        sigmoid = rows.view(s[low:high])
        logistic(centred, out=sigmoid)
        np.multiply(centred, sigmoid, out=out)

    parallel(work, n, _CHUNK // (pixels * channels), x.size)
    return y, (x, mean, variance, np.float32(eps), y if silu else None, s), mean, variance


def group_norm_grad(g, saved, weight):
    """`plain.group_norm_grad`"""
    x, mean, variance, eps, y, s = saved
    g = np.ascontiguousarray(g)
    n, pixels, channels = g.shape
    rows = _Rows(pixels, channels, mean.shape[1])
    gx = np.empty_like(g)
    along_bias, along_weight = (np.empty((n, channels), np.float32) for _ in range(2))

    def work(low, high, _):
        part, slope, out = (rows.view(a[low:high]) for a in (x, g, gx))
        if s is not None:
            z_slope = scratch("slope", *part.shape)
            silu_slope(rows.view(y[low:high]), rows.view(s[low:high]), out=z_slope)
            slope = np.multiply(z_slope, slope, out=z_slope)
        rstd = 1 / np.sqrt(variance[low:high] + eps)
        r = rows.to_channels(rstd)
        normal = scratch("centred", *part.shape)
        np.subtract(part, rows.spread(rows.to_channels(mean[low:high])), out=normal)
        along_bias[low:high] = rows.sum(slope)
        np.multiply(slope, normal, out=out)
        along_weight[low:high] = rows.sum(out) * r
        h_mean = rows.to_channels(rows.mean_of_groups(along_bias[low:high] * weight))
        along = rows.to_channels(rows.mean_of_groups(along_weight[low:high] * weight))
        np.multiply(slope, rows.spread(r * weight), out=out)
        np.multiply(normal, rows.spread(r * r * along), out=normal)
        np.subtract(out, normal, out=out)
        np.subtract(out, rows.spread(r * h_mean), out=out)

    parallel(work, n, _CHUNK // (pixels * channels), x.size)
    return gx, along_weight.sum(axis=0), along_bias.sum(axis=0)


class _Rows:
    """(n, L, C) seen as (n, L/k, k·C): a number per channel, repeated k times, is a long row."""

    def __init__(self, pixels: int, channels: int, groups: int):
        self.channels, self.groups = channels, groups
        self.count = pixels * channels // groups
        repeats = (k for k in range(1, pixels + 1) if pixels % k == 0 and k * channels >= 512)
        self.repeat = next(repeats, pixels)
        self.ones = np.ones((1, pixels), np.float32)

    def view(self, a):
        return a.reshape(len(a), -1, self.repeat * self.channels)

    def spread(self, per_channel):
        n = len(per_channel)
        rows = np.empty((n, self.repeat, self.channels), np.float32)
        rows[...] = per_channel[:, None]
        return rows.reshape(n, 1, -1)

    def sum(self, a):
        """Σ over the pixels: (n, C)"""
        return np.matmul(self.ones, a.reshape(len(a), -1, self.channels))[:, 0]

    def mean_of_groups(self, per_channel):
        """(n, C) sums over pixels → (n, groups) means"""
        grouped = per_channel.reshape(len(per_channel), self.groups, -1)
        return grouped.sum(axis=2) / np.float32(self.count)

    def group_mean(self, a):
        return self.mean_of_groups(self.sum(a))

    def to_channels(self, per_group):
        return per_group.repeat(self.channels // self.groups, axis=1)
