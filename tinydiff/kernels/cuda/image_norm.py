"""Group norm, with the silu that follows it in one go: see image_norm.cu

Three launches: moments of strips of each image, statistics of the groups from those, and one pass
for y.  Four back: sums over strips, their means over groups, ∂/∂x, and the sum over images for
weight and bias.  No atomics: the same numbers give the same bits.  Nothing but x and the
statistics is kept; what lies between is worked out anew.
"""

import cupy

from tinydiff.kernels.cuda.source import THREADS, Source

_kernels = Source("image_norm")

_FILL = 1 << 18  # threads that keep a large GPU busy
_SHORTEST = 8  # pixels of a strip that are worth a thread
_MOST = 2048  # strips of a channel, and
_MOST_OF_GROUP = 1 << 15  # of a group, since one block sums them up


def group_norm(x, weight, bias, groups, eps, silu=False):
    """`plain.group_norm`"""
    x, weight, bias = (cupy.ascontiguousarray(a) for a in (x, weight, bias))
    n, pixels, channels = x.shape
    members = channels // groups
    strips = strips_for(x.shape, min(_MOST, max(1, _MOST_OF_GROUP // members)))
    means, squares = cupy.empty((2, n, strips, channels), x.dtype)
    mean, variance, rstd = cupy.empty((3, n, groups), x.dtype)
    y = cupy.empty_like(x)
    over_all(_kernels.moments, x.shape, strips, x, means, squares)
    threads = min(512, -(-strips * members // 128) * 32)
    sizes = strips, pixels, channels, groups, eps
    _kernels.statistics(n * groups, threads, x, means, squares, mean, variance, rstd, *sizes)
    strips, settings = strips_for(x.shape, pixels), (groups, silu)
    arrays = x, mean, rstd, weight, bias, y
    over_all(_kernels.normalise, x.shape, strips, *arrays, settings=settings)
    return y, (x, mean, rstd, bias, silu), mean, variance


def group_norm_grad(g, saved, weight):
    """`plain.group_norm_grad`"""
    x, mean, rstd, bias, silu = saved
    g, weight = cupy.ascontiguousarray(g), cupy.ascontiguousarray(weight)
    n, pixels, channels = x.shape
    groups = mean.shape[1]
    members, settings = channels // groups, (groups, silu)
    strips = strips_for(x.shape, min(_MOST, max(1, _MOST_OF_GROUP // members)))
    parts = cupy.empty((2, n, strips, channels), x.dtype)
    sums = cupy.empty((2, n, channels), x.dtype)
    h_mean, tilt = cupy.empty((2, n, groups), x.dtype)
    gx = cupy.empty_like(x)
    arrays = g, x, mean, rstd, weight, bias
    over_all(_kernels.slope_sums, x.shape, strips, *arrays, *parts, settings=settings)
    team = 1 << (min(strips, 32) - 1).bit_length()
    threads = min(512, -(-members * team // 32) * 32)
    sizes = team, strips, pixels, channels, groups
    _kernels.slope_means(n * groups, threads, *parts, weight, *sums, h_mean, tilt, *sizes)
    strips = strips_for(x.shape, pixels)
    arrays += h_mean, tilt, gx
    over_all(_kernels.input_grad, x.shape, strips, *arrays, settings=settings)
    along, across = sums[:, 0] if n == 1 else sums.sum(axis=1)
    return gx, across, along


def strips_for(shape, most: int) -> int:
    """Into how many strips of pixels to cut each image of (N, L, C), a thread a channel of each"""
    n, pixels, channels = shape
    return max(1, min(-(-pixels // _SHORTEST), _FILL // (n * channels), most))


def over_all(kernel, shape, strips: int, *arrays, settings=()) -> None:
    """Launch a kernel whose threads are placed as `place` in image_norm.cu says"""
    n, pixels, channels = shape
    across = -(-channels // THREADS)
    wide = channels if across == 1 else -(-channels // across // 32) * 32
    tall = min(THREADS // wide, strips)
    blocks = n * -(-strips // tall), -(-channels // wide)
    kernel(blocks, (wide, tall), *arrays, strips, pixels, channels, *settings)
