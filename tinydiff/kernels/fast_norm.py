"""Group norm, with the silu that follows it in one go, over images that fit the cache (float32).

Per image and group, with x̂ = (x − μ)·r and r = 1/√(v + ε):

    z = x̂·w + b,  y = z or z·σ(z)
    ∂/∂x = r·(h − mean(h) − x̂·mean(h·x̂))      h = ∂/∂z · w, means over the group

What counts is the number of passes over the image, so both are written as x·(a row) + (a row), a
row holding a number for each channel.  Sums over pixels are products with a row of ones.  Where μ
is large beside √v, digits would cancel: x − μ then takes the place of x.

The logistic function is a tanh, σ(z) = (1 + t)/2 with t = tanh(z/2), which cannot overflow.  With
u = z/2, y = u + u·t and ∂y/∂z = (1 + t)·(1 + u − u·t)/2.  Half the weight and half the bias give u.
Nothing but x is kept for the gradient: to work out t once more takes no longer than to read it.
"""

import numpy as np

from tinydiff.kernels.workers import parallel, scratch

_ONE = np.float32(1)
_CHUNK = 1 << 18  # elements of the images a worker takes at a time
_ROW = 1 << 13  # NumPy takes twice as long for shorter rows that meet many others
_FAR = 16  # μ² > 16·v counts as large


def group_norm(x, weight, bias, groups, eps, silu=False):
    """`plain.group_norm`"""
    x = np.ascontiguousarray(x)
    rows = _Rows(x.shape, groups)
    mean, variance = (np.empty((len(x), groups), np.float32) for _ in range(2))
    y = np.empty_like(x)
    half, eps = np.float32(0.5 if silu else 1), np.float32(eps)
    weight, bias = half * weight, half * bias

    def work(low, high, _):
        part, out = x[low:high], y[low:high]
        mu, v = mean[low:high], variance[low:high]
        mu[...] = rows.group_mean(part)
        np.multiply(part, part, out=out)
        v[...] = rows.group_mean(out) - mu * mu
        if far_from_zero(mu, v):
            part = rows.centred(part, mu)
            mu = rows.group_mean(part)  # what rounding has left
            np.multiply(part, part, out=out)
            v[...] = rows.group_mean(out) - mu * mu
        scale = rows.to_channels(1 / np.sqrt(v + eps)) * weight
        u = out if not silu else scratch("u", *part.shape)
        rows.times(part, scale, out=u)
        rows.plus(u, bias - rows.to_channels(mu) * scale)
        if silu:
            np.tanh(u, out=out)
            np.multiply(out, u, out=out)
            np.add(out, u, out=out)

    parallel(work, len(x), _CHUNK // x[0].size, x.size)
    return y, (x, rows, mean, variance, eps, bias if silu else None), mean, variance


def group_norm_grad(g, saved, weight):
    """`plain.group_norm_grad`"""
    x, rows, mean, variance, eps, bias = saved
    g = np.ascontiguousarray(g)
    gx = np.empty_like(g)
    half = np.float32(1 if bias is None else 0.5)
    weight = half * weight
    for_bias, for_weight = (np.empty((len(x), rows.channels), np.float32) for _ in range(2))

    def work(low, high, _):
        part, slope, out = x[low:high], g[low:high], gx[low:high]
        mu, v = mean[low:high], variance[low:high]
        if far_from_zero(mu, v):
            part = rows.centred(part, mu)
            mu = rows.group_mean(part)
        rstd, mu = rows.to_channels(1 / np.sqrt(v + eps)), rows.to_channels(mu)
        scale = rstd * weight
        spare = scratch("spare", *part.shape)
        if bias is not None:
            u, t = out, scratch("u", *part.shape)
            rows.times(part, scale, out=u)
            rows.plus(u, bias - mu * scale)
            np.tanh(u, out=t)
            # (1 + t)·(1 + u − u·t) is twice the slope of silu, and the weight is half of its own.
            np.multiply(u, t, out=spare)
            np.subtract(u, spare, out=u)
            np.add(u, _ONE, out=u)
            np.add(t, _ONE, out=t)
            np.multiply(t, u, out=t)
            slope = np.multiply(t, slope, out=t)
        along = rows.sum(slope)
        np.multiply(slope, part, out=spare)
        across = (rows.sum(spare) - mu * along) * rstd  # Σ slope·x̂
        for_bias[low:high], for_weight[low:high] = along, across
        h_mean = rows.to_channels(rows.mean_of_groups(along * weight))
        tilt = rstd * rstd * rows.to_channels(rows.mean_of_groups(across * weight))
        rows.times(part, -tilt, out=out)
        rows.plus(out, tilt * mu - rstd * h_mean)
        rows.times(slope, scale, out=spare)
        np.add(out, spare, out=out)

    parallel(work, len(x), _CHUNK // x[0].size, x.size)
    return gx, half * for_weight.sum(axis=0), half * for_bias.sum(axis=0)


def far_from_zero(mean, variance) -> bool:
    """Whether μ is so large beside √v anywhere that digits would cancel"""
    return bool((mean * mean > _FAR * variance).any())


class _Rows:
    """Images (n, L, C), and numbers for each of their channels (n, C) or groups (n, G)."""

    def __init__(self, shape, groups: int):
        _, pixels, self.channels = shape
        self.groups, self.size = groups, self.channels // groups
        self.count = np.float32(pixels * self.size)
        repeats = (k for k in range(1, pixels + 1) if pixels % k == 0 and k * self.channels >= _ROW)
        self.repeat = next(repeats, pixels)
        self.ones = np.ones((1, pixels), np.float32)

    def sum(self, a):
        """Σ over the pixels: (n, C)"""
        return np.matmul(self.ones, a)[:, 0]

    def mean_of_groups(self, sums):
        """(n, C) sums over pixels → (n, G) means"""
        return np.add.reduce(sums.reshape(len(sums), self.groups, -1), axis=2) / self.count

    def group_mean(self, a):
        return self.mean_of_groups(self.sum(a))

    def to_channels(self, per_group):
        return per_group.repeat(self.size, axis=1)

    def centred(self, a, mean):
        out = scratch("centred", *a.shape)
        out[...] = a
        return self.plus(out, -self.to_channels(mean))

    def times(self, a, per_channel, out):
        np.multiply(self._view(a), self._row(per_channel), out=self._view(out))

    def plus(self, a, per_channel):
        """a += per_channel, and a"""
        view = self._view(a)
        np.add(view, self._row(per_channel), out=view)
        return a

    def _view(self, a):
        return a.reshape(len(a), -1, self.repeat * self.channels)

    def _row(self, per_channel):
        row = np.empty((len(per_channel), self.repeat, self.channels), np.float32)
        row[...] = per_channel[:, None]
        return row.reshape(len(row), 1, -1)
