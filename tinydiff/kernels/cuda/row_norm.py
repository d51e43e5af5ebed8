"""Layer norm, and group norm of images of one pixel: a warp or a block a row, see row_norm.cu

One launch, and three back: ∂/∂x, sums over strips of tokens for weight and bias, and the sum of
those.
"""

import cupy

from tinydiff.kernels.cuda.image_norm import over_all, strips_for
from tinydiff.kernels.cuda.source import Source, rows_for

_kernels = Source("row_norm")


def group_norm(x, weight, bias, groups, eps, silu=False):
    """`plain.group_norm` of x (N, 1, C)"""
    x, weight, bias = (cupy.ascontiguousarray(a) for a in (x, weight, bias))
    y = cupy.empty_like(x)
    mean, variance, rstd = cupy.empty((3, len(x), groups), x.dtype)
    rows, length = len(x) * groups, x.shape[2] // groups
    arrays = x, weight, bias, y, mean, variance, rstd
    _kernels.row_norm(*rows_for(rows, length), *arrays, rows, length, groups, eps, silu)
    return y, (x, mean, rstd, bias, silu), mean, variance


def group_norm_grad(g, saved, weight):
    """`plain.group_norm_grad` of x (N, 1, C)"""
    x, mean, rstd, bias, silu = saved
    g, weight = cupy.ascontiguousarray(g), cupy.ascontiguousarray(weight)
    tokens, groups, channels = len(x), mean.shape[1], x.shape[2]
    rows, length = tokens * groups, channels // groups
    gx = cupy.empty_like(x)
    arrays = g, x, mean, rstd, weight, bias
    _kernels.row_input_grad(*rows_for(rows, length), *arrays, gx, rows, length, groups, silu)
    shape = 1, tokens, channels  # the tokens as the pixels of one image
    strips = strips_for(shape, tokens)
    sums = cupy.empty((2, strips, channels), x.dtype)
    over_all(_kernels.column_sums, shape, strips, *arrays, *sums, settings=(groups, silu))
    along, across = sums[:, 0] if strips == 1 else sums.sum(axis=1)
    return gx, across, along
