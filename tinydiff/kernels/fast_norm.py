"""Group norm, with the silu that follows it in one go, over pieces that fit the cache (float32).

Per image and group, with x̂ = (x − μ)·r and r = 1/√(v + ε):

    z = x̂·w + b,  y = z or z·σ(z)
    ∂/∂x = r·(h − mean(h) − x̂·mean(h·x̂))      h = ∂/∂z · w, means over the group

What counts is the number of passes over the images, so both are written as x·(a row) + (a row), a
row holding a number for each channel.  Sums over pixels are products with a row of ones.  Both take
two rounds over all pieces, the first for the sums: what lies between, on few numbers in float64,
costs as much as a pass over a piece and is done for all images at once.

The logistic function is a tanh, σ(z) = (1 + t)/2 with t = tanh(z/2), which cannot overflow.  With
u = z/2, y = u·(1 + t) and ∂y/∂z = (1 + t)·(1 + u·(1 − t))/2.  Half the weight and half the bias
give u.  Nothing but x is kept for the gradient: to work out t once more takes no longer than to
read it.  Where μ is large beside √v, digits would cancel: x − μ then takes the place of x.
"""

import functools
import math

import numpy as np

from tinydiff.kernels.workers import empty, parallel, piece, scratch

_ONE, _TWO = np.float32(1), np.float32(2)
_FAR = 16  # μ² > 16·v counts as large
_BUFFER = 512  # elements: NumPy shall not copy our rows, which are longer where that is possible


def group_norm(x, weight, bias, groups, eps, silu=False):
    """`plain.group_norm`"""
    images = Images(np.ascontiguousarray(x), groups)
    mean, variance, offset, rstd = images.measured(eps)
    half = np.float32(0.5 if silu else 1)
    scale, shift = rstd * (half * weight), half * bias
    scale_rows, shift_rows = images.rows(scale), images.rows(shift - offset * scale)
    y = empty(*x.shape)
    results = images.split(y)

    def work(here, of):
        out = results[here]
        u = scratch("norm", *out.shape) if silu else out
        np.multiply(images.piece(here, of), scale_rows[of], u)
        np.add(u, shift_rows[of], u)
        if silu:
            np.tanh(u, out)  # slow enough to hide that ``out`` is not in the cache yet
            np.add(out, _ONE, out)
            np.multiply(out, u, out)

    images.in_pieces(work)
    statistics = (a.astype(np.float32) for a in (mean, variance))
    return y, (images, rstd, offset, shift if silu else None), *statistics


def group_norm_grad(g, saved, weight):
    """`plain.group_norm_grad`"""
    images, rstd, offset, shift = saved
    gx = empty(*g.shape)
    results, slopes = images.split(gx), images.split(np.ascontiguousarray(g))
    half = np.float32(1 if shift is None else 0.5)
    weight = half * weight
    scale = rstd * weight
    scale_rows = images.rows(scale)
    shift_rows = None if shift is None else images.rows(shift - offset * scale)

    def slope_and_sums(here, of, sums):
        part, slope, out = images.piece(here, of), slopes[here], results[here]
        u = scratch("norm", *part.shape)
        if shift is not None:
            np.multiply(part, scale_rows[of], u)
            np.add(u, shift_rows[of], u)
            t = np.tanh(u, out)
            # (1 + t)·(1 + u·(1 − t)) is twice the slope of silu, and the weight is half of its own.
            np.subtract(_ONE, t, t)
            np.multiply(u, t, u)
            np.add(u, _ONE, u)
            np.subtract(_TWO, t, t)
            np.multiply(t, u, t)
            slope = np.multiply(t, slope, t)
        images.sum(slope, sums[0])
        images.sum(np.multiply(slope, part, u), sums[1])
        np.multiply(slope, scale_rows[of], out)

    along, across = images.sums(slope_and_sums)
    across = (across - offset * along) * rstd  # Σ slope·x̂
    h_mean, tilt = (images.to_channels(images.mean(a * weight)) for a in (along, across))
    tilt *= rstd * rstd
    images.add(results, -tilt, tilt * offset - rstd * h_mean)
    sums = ((half * a.sum(axis=0)).astype(np.float32) for a in (across, along))
    return gx, *sums


def far_from_zero(mean, variance) -> bool:
    """Whether μ is so large beside √v anywhere that digits would cancel"""
    return bool((mean * mean > _FAR * variance).any())


class Images:
    """Images (n, L, C) in pieces, and numbers for each of their channels (n, C) or groups (n, G).

    A piece is a few images, or a band of one that is too large for the cache.  It has the shape
    (bands, …, k·C), and meets rows (images, 1, k·C), which repeat what belongs to the channels.
    """

    def __init__(self, x, groups: int):
        self.n, pixels, self.channels = x.shape
        self.groups, self.size = groups, self.channels // groups
        self.count = pixels * self.size
        image, most = pixels * self.channels, piece(x.size)
        self.bands = _divisor(pixels, image / most)  # of an image
        pieces = max(1, round(x.size / most))  # of the same size: a small one takes as many calls
        self.at_once = -(-self.n // pieces) if self.bands == 1 else 1
        height = pixels // self.bands
        # Rows take long to make if they are long, and to meet many others if they are short.
        self.repeat = _divisor(height, 16 * math.sqrt(image) / self.channels)
        self.runs = _divisor(height, height / 1024)  # a long sum in float32 loses digits
        self.ones = np.ones((1, height // self.runs), np.float32)
        self.parts = self.split(x)
        self.centre_rows = None

    def split(self, a):
        return a.reshape(self.n * self.bands, -1, self.repeat * self.channels)

    def rows(self, per_channel):
        rows = empty(self.n, self.repeat, self.channels)
        rows[...] = per_channel.astype(np.float32)[:, None]
        return rows.reshape(self.n, 1, -1)

    def in_pieces(self, work):
        """Call work(which bands, of which images) for all pieces"""

        def share(low, high, _):
            work(slice(low, high), slice(low // self.bands, (high - 1) // self.bands + 1))

        parallel(share, self.n * self.bands, self.at_once, self.parts.size, _BUFFER)

    def centre(self, mean):
        """From now on, x − mean takes the place of x."""
        self.centre_rows = self.rows(self.to_channels(mean))

    def piece(self, here, of):
        part = self.parts[here]
        if self.centre_rows is None:
            return part
        return np.subtract(part, self.centre_rows[of], scratch("centred", *part.shape))

    def sums(self, work):
        """Two sums over the pixels, (2, n, C), of what work(…, sums) puts into its last argument"""
        sums = np.empty((2, self.n * self.bands, self.runs, 1, self.channels), np.float32)
        self.in_pieces(lambda here, of: work(here, of, sums[:, here]))
        return np.add.reduce(sums.reshape(2, self.n, -1, self.channels), axis=2, dtype=np.float64)

    def sum(self, a, out):
        """Σ over the pixels of each run of each band: (bands, runs, 1, C)"""
        np.matmul(self.ones, a.reshape(len(a), self.runs, -1, self.channels), out)

    def statistics(self):
        """μ and v of each group, (n, G)"""

        def sums_of_powers(here, of, sums):
            part = self.piece(here, of)
            self.sum(part, sums[0])
            self.sum(np.square(part, scratch("norm", *part.shape)), sums[1])

        mean, square = self.mean(self.sums(sums_of_powers))
        return mean, square - mean * mean

    def measured(self, eps: float):
        """μ and v of each group; what to take from each channel of the pieces, and 1/√(v + ε)"""
        mean, variance = self.statistics()
        offset = mean
        if far_from_zero(mean, variance):
            self.centre(mean)
            offset, variance = self.statistics()  # the offset is what rounding has left
        return (
            mean,
            variance,
            self.to_channels(offset),
            self.to_channels(1 / np.sqrt(variance + eps)),
        )

    def add(self, results, tilt, level):
        """results += tilt·x + level, with tilt and level (n, C)"""
        tilt_rows, level_rows = self.rows(tilt), self.rows(level)

        def work(here, of):
            out = results[here]
            spare = np.multiply(self.piece(here, of), tilt_rows[of], scratch("norm", *out.shape))
            np.add(spare, level_rows[of], spare)
            np.add(out, spare, out)

        self.in_pieces(work)

    def mean(self, sums):
        """(…, C) sums over pixels → (…, G) means of groups"""
        ones = np.ones(self.size)  # NumPy is slow to sum few numbers
        return (sums.reshape(*sums.shape[:-1], self.groups, -1) @ ones) / self.count

    def to_channels(self, per_group):
        return per_group.repeat(self.size, axis=1)


@functools.lru_cache
def _divisor(number: int, wanted: float) -> int:
    """The divisor of the number that is nearest to the wanted one, as a ratio"""
    small = [k for k in range(1, math.isqrt(number) + 1) if number % k == 0]
    divisors = *small, *(number // k for k in small)  # one of each pair is at most √number
    return min(divisors, key=lambda k: (max(k / wanted, wanted / k), k))
