"""Layer norm, which is group norm of one pixel and one group: each row of x by itself (float32).

    y = x·(r·w) + (b − μ·r·w)                      r = 1/√(v + ε)
    ∂/∂x = g·(r·w) − x·p + (μ·p − r·mean(h))       h = g·w,  p = r³·(mean(h·x) − μ·mean(h))
    ∂/∂w = Σ g·x·r − Σ g·μ·r,  ∂/∂b = Σ g          means over a row, sums over all rows

Rows are short, and there NumPy is slow to sum, and to meet a column or one row with many.  So sums
are products with a vector, and what stands in brackets above, a column times a row, is worked out
as a matrix, by a product too.  Where μ is large beside √v, digits would cancel: x − μ then takes
the place of x.
"""

import numpy as np

from tinydiff.kernels.fast_norm import far_from_zero
from tinydiff.kernels.workers import empty, parallel, parallel_sum, piece, scratch


def suits(shape, groups: int, silu: bool) -> bool:
    """One pixel, one group, and nothing after it"""
    return shape[1] == groups == 1 and not silu


def group_norm(x, weight, bias, groups, eps, silu=False):
    """`plain.group_norm` of what suits"""
    rows = _Rows(np.ascontiguousarray(x[:, 0]))
    mean, variance = rows.statistics()
    offset = mean
    if far_from_zero(mean, variance):
        rows.centre = mean
        offset, variance = rows.statistics()  # the offset is what rounding has left
    rstd = 1 / np.sqrt(variance + np.float32(eps))
    scale, shift = _Product(rstd, weight), _Product(-offset * rstd, weight, bias)
    y = empty(*rows.shape)

    def work(low, high, _):
        out, spare = y[low:high], scratch("spare", high - low, rows.shape[1])
        np.multiply(scale.write(low, high, out), rows.part(low, high), out)
        np.add(out, shift.write(low, high, spare), out)

    parallel(work, *rows.shares)
    return y[:, None], (rows, offset, rstd), mean, variance


def group_norm_grad(g, saved, weight):
    """`plain.group_norm_grad`"""
    rows, offset, rstd = saved
    g = np.ascontiguousarray(g[:, 0])
    gx = empty(*g.shape)
    weighted = weight[:, None] * rows.average
    scale, cubed = _Product(rstd, weight), rstd * rstd * rstd
    tilt, level = (_Product(np.empty_like(rstd), np.ones_like(weight)) for _ in range(2))
    down = np.concatenate([-offset * rstd, np.ones_like(rstd)], axis=1)

    def work(low, high, sums):
        here = slice(low, high)
        part, slope, out = rows.part(low, high), g[here], gx[here]
        spare = np.multiply(slope, part, scratch("spare", *part.shape))
        np.matmul(down[here].T, slope, sums)
        sums[0] += rstd[here, 0] @ spare
        h_mean = slope @ weighted
        p = cubed[here] * (spare @ weighted - offset[here] * h_mean)
        tilt.column[here], level.column[here] = -p, offset[here] * p - rstd[here] * h_mean
        np.multiply(scale.write(low, high, out), slope, out)
        np.multiply(tilt.write(low, high, spare), part, spare)
        np.add(out, spare, out)
        np.add(out, level.write(low, high, spare), out)

    for_weight, for_bias = parallel_sum(work, *rows.shares, (2, g.shape[1]))
    return gx[:, None], for_weight, for_bias


class _Rows:
    """The rows of x, or of x − centre where that is set"""

    def __init__(self, x):
        self.x, self.shape, self.centre = x, x.shape, None
        n, channels = x.shape
        self.average = np.full((channels, 1), 1 / channels, np.float32)  # rows @ it are their means
        self.shares = n, piece(x.size) // channels, x.size

    def part(self, low, high):
        part = self.x[low:high]
        if self.centre is None:
            return part
        return np.subtract(part, self.centre[low:high], scratch("centred", *part.shape))

    def statistics(self):
        """μ and v, (n, 1)"""
        mean, square = np.empty((2, len(self.x), 1), np.float32)

        def work(low, high, _):
            part = self.part(low, high)
            np.matmul(part, self.average, mean[low:high])
            np.vecdot(part, part, square[low:high, 0])

        parallel(work, *self.shares)
        return mean, square / np.float32(self.shape[1]) - mean * mean


class _Product:
    """column·factor + plus, for a column (n, 1) and two rows, as a product of matrices"""

    def __init__(self, column, factor, plus=0):
        self.left = np.ones((len(column), 2), np.float32)
        self.column = self.left[:, :1]
        self.column[...] = column
        self.right = np.empty((2, len(factor)), np.float32)
        self.right[0], self.right[1] = factor, plus

    def write(self, low, high, out):
        return np.matmul(self.left[low:high], self.right, out)
