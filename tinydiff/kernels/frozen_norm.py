"""Group norm with silu where weight and bias do not learn, as in an attack (float32).

Then only ∂/∂x is asked for, and the sums over each group are all that it needs.  The slope of all
that comes after x̂ is worked out on the way there, from numbers that lie in the cache:

    slope = r·w·∂y/∂z,  with s = 1 + t and y = u·s as in `fast_norm`:  ∂y/∂z = (s + y·(2 − s))/2
    ∂/∂x  = k − mean(k) − r²·(x − μ)·mean(k·(x − μ)),   k = slope·∂/∂y

It is kept in the place of y, which a frozen convolution does not keep, and saves the way back half
of its passes over the images.  There k takes the slope's place, and ∂/∂x that of k: the way back
writes to no memory that it has not just read.  Whoever walks a graph a second time finds no slope,
and it is worked out again.
"""

import numpy as np

from tinydiff.kernels.fast_norm import Images
from tinydiff.kernels.workers import empty, scratch

_ONE, _TWO, _HALF = np.float32(1), np.float32(2), np.float32(0.5)


def group_norm(x, weight, bias, groups, eps, silu=True):
    """`plain.group_norm` with silu"""
    images = Images(np.ascontiguousarray(x), groups)
    mean, variance, offset, rstd = images.measured(eps)
    scale, shift = rstd * (_HALF * weight), _HALF * bias
    rows = images.rows(scale), images.rows(shift - offset * scale)
    y, slopes = _values_and_slopes(images, *rows)
    statistics = (a.astype(np.float32) for a in (mean, variance))
    return y.reshape(x.shape), (images, rstd, offset, rows, [slopes]), *statistics


def _values_and_slopes(images, scale_rows, shift_rows):
    """y and the slope, each in pieces"""
    results, slopes = (empty(*images.parts.shape) for _ in range(2))

    def work(here, of):
        out, s = results[here], slopes[here]
        u = scratch("norm", *out.shape)
        np.multiply(images.piece(here, of), scale_rows[of], u)
        np.add(u, shift_rows[of], u)
        np.tanh(u, s)
        np.add(s, _ONE, s)
        np.multiply(s, u, out)
        np.subtract(_TWO, s, u)
        np.multiply(u, out, u)
        np.add(s, u, s)
        np.multiply(s, scale_rows[of], s)

    images.in_pieces(work)
    return results, slopes


def group_norm_grad(g, saved, weight):
    """`plain.group_norm_grad`, with None for weight and bias"""
    images, rstd, offset, rows, kept = saved
    slopes = kept.pop() if kept else _values_and_slopes(images, *rows)[1]
    gradients = images.split(np.ascontiguousarray(g))

    def slope_and_sums(here, of, sums):
        k = np.multiply(gradients[here], slopes[here], slopes[here])
        images.sum(k, sums[0])
        images.sum(np.multiply(k, images.piece(here, of), scratch("norm", *k.shape)), sums[1])

    along, across = images.sums(slope_and_sums)
    means = images.mean(along), images.mean(across - offset * along)
    level, tilt = map(images.to_channels, means)
    tilt *= rstd * rstd
    images.add(slopes, -tilt, tilt * offset - level)
    return slopes.reshape(g.shape), None, None
