"""3×3 convolution by Winograd's F(4×4, 3×3) on a GPU: the equations are in `winograd_matrices`.

The transforms are kernels, in winograd.cu, that read and write the images themselves, borders and
all; between them 36 matrix products are one call of cuBLAS.
"""

import math

import cupy

from tinydiff.kernels.cuda.chunks import chunks
from tinydiff.kernels.cuda.product import product
from tinydiff.kernels.cuda.source import THREADS, Source
from tinydiff.kernels.cuda.sums import sum_rows
from tinydiff.kernels.window import Window

_kernels = Source("winograd")


def suits(channels: int, filters: int, window: Window) -> bool:
    """3×3 of stride 1, and enough channels to pay for the transforms"""
    return (
        (window.kernel, window.stride, window.dilation) == ((3, 3), (1, 1), (1, 1))
        and window.groups == 1
        and min(channels, filters) >= 16
    )


def traffic(images: int, channels: int, filters: int, window: Window) -> int:
    """Elements that a convolution, or its weight gradient, reads and writes"""
    pixels = math.prod(window.image) * channels + math.prod(window.out) * filters
    at_points = images * math.prod(_tiles(window.out)) * (channels + filters) + channels * filters
    return images * pixels + 9 * channels * filters + 2 * 36 * at_points


def conv2d(x, weight, bias, window: Window):
    """`plain.conv2d`"""
    return _conv2d(x, _filters_at_points(weight), bias, window)


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`"""
    return _conv2d(g, _turned_filters_at_points(weight), None, window.backwards)


def _conv2d(x, filters, bias, window: Window):
    """filters at the points, (36, C, O)"""
    x = cupy.ascontiguousarray(x)
    y = cupy.empty((len(x), *window.out, filters.shape[2]), x.dtype)
    for part in _chunks(x, *filters.shape[1:], window):
        _correlate(_tiles_at_points(x[part], window), filters, y[part], bias)
    return y


def conv2d_weight_grad(x, g, window: Window):
    """`plain.conv2d_weight_grad`"""
    return _gradients(x, g, None, window)[1]


def conv2d_grads(x, g, weight, window: Window):
    """`plain.conv2d_grads`"""
    return *_gradients(x, g, weight, window), sum_rows(g)


def _gradients(x, g, weight, window: Window):
    """Input gradient (None without a weight) and weight gradient"""
    x, g = cupy.ascontiguousarray(x), cupy.ascontiguousarray(g)
    channels, filters = x.shape[3], g.shape[3]
    gx = None if weight is None else cupy.empty_like(x)
    opposite = None if weight is None else _turned_filters_at_points(weight)
    total = cupy.empty((36, channels, filters), x.dtype)
    for part in _chunks(x, channels, filters, window.backwards):
        seen = _tiles_at_points(g[part], window.backwards)
        if weight is not None:
            _correlate(seen, opposite, gx[part], None)
        blocks = _blocks_at_points(x[part])
        keep = 1.0 if part.start else 0.0  # what the chunks before have given
        product(blocks.swapaxes(1, 2)[None], seen[None], total[None], keep=keep)
    gw = cupy.empty((3, 3, channels, filters), x.dtype)
    count = channels * filters
    _kernels.filters_from_points(_blocks(count), THREADS, total, gw, count)
    return gx, gw


def _correlate(seen, filters, y, bias) -> None:
    """y (n, H, W, O) from its tiles at the points (36, tiles, C) and filters (36, C, O)"""
    n, h, w, c = y.shape
    down, right = _tiles((h, w))
    products = cupy.empty((36, n * down * right, c), y.dtype)
    product(seen[None], filters[None], products[None])
    bias = None if bias is None else cupy.ascontiguousarray(bias)
    count = n * down * right * c
    _kernels.pixels_from_points(
        *(_blocks(count), THREADS, products, bias, y, count, h, w, c, down, right)
    )


def _tiles_at_points(x, window: Window):
    """Bᵀ x B of the tiles that the outputs see: (36, tiles, C)"""
    n, h, w, c = x.shape
    down, right = _tiles(window.out)
    (top, _), (left, _) = window.padding
    v = cupy.empty((36, n * down * right, c), x.dtype)
    count = n * down * right * c
    _kernels.tiles_at_points(
        *(_blocks(count), THREADS, x, v, count, h, w, c, down, right, top, left)
    )
    return v


def _blocks_at_points(x):
    """A x Aᵀ of the 4×4 blocks: (36, tiles, C)"""
    n, h, w, c = x.shape
    down, right = _tiles((h, w))
    v = cupy.empty((36, n * down * right, c), x.dtype)
    count = n * down * right * c
    _kernels.blocks_at_points(_blocks(count), THREADS, x, v, count, h, w, c, down, right)
    return v


def _filters_at_points(weight, turned=False):
    """G w Gᵀ of filters (3, 3, C, O): (36, C, O)"""
    weight = cupy.ascontiguousarray(weight)
    v = cupy.empty((36, *weight.shape[2:]), weight.dtype)
    count = math.prod(weight.shape[2:])
    _kernels.filters_at_points(_blocks(count), THREADS, weight, v, count, int(turned))
    return v


def _turned_filters_at_points(weight):
    """G w Gᵀ of the kernel turned by 180°, input and output channels swapped: (36, O, C)"""
    return _filters_at_points(weight, turned=True).swapaxes(1, 2)


def _tiles(size: tuple[int, int]) -> tuple[int, int]:
    """How many tiles of 4×4 pixels an image takes, down and to the right"""
    return -(-size[0] // 4), -(-size[1] // 4)


def _blocks(count: int) -> int:
    return -(-count // THREADS)


def _chunks(x, channels: int, filters: int, window: Window):
    elements = 36 * math.prod(_tiles(window.out)) * (channels + filters)
    return chunks(len(x), elements, x.dtype)
