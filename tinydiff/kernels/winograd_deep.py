"""Winograd's convolution where there are more channels than tiles: work shared out by channels.

`winograd` gives each worker some of the images.  Deep in a network a batch is a few dozen tiles of
hundreds of channels, and most of the work is on the filters: every worker would read all of them
at the points, 4× their size, and write a weight gradient as large.  Here the tiles of the whole
batch are brought to the points first; then each worker takes some of the channels, and what
belongs to these is brought to the points, used and left behind while it is in the cache.
"""

import numpy as np

from tinydiff.kernels import winograd
from tinydiff.kernels.fast import sum_rows
from tinydiff.kernels.window import Window
from tinydiff.kernels.workers import empty, parallel

_CACHE = 300_000  # elements of filters at the points at a time


def suits(images: int, channels: int, filters: int, window: Window, grads: bool) -> bool:
    """As for `winograd`, with a few times as many channels as tiles; fewer do for the gradients."""
    tiles = images * max(winograd.tiles_in(window.image), winograd.tiles_in(window.out))
    enough = (3 if grads else 12) * tiles**2 <= channels * filters
    return enough and winograd.suits(channels, filters, window)


def conv2d(x, weight, bias, window: Window):
    """`plain.conv2d`"""
    y = empty(len(x), *window.out, weight.shape[3])
    seen = _tiles_at_points(x, window)

    def work(low, high, _):
        offset = None if bias is None else bias[low:high]
        filters = winograd.filters_at_points(weight[..., low:high])
        winograd.correlate(seen, filters, y[..., low:high], offset)

    _by_channels(work, weight.shape[2], weight.shape[3])
    return y


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`"""
    return conv2d(g, winograd.turned(weight), None, window.backwards)


def conv2d_weight_grad(x, g, window: Window):
    """`plain.conv2d_weight_grad`"""
    return conv2d_grads(x, g, None, window)[1]


def conv2d_grads(x, g, weight, window: Window):
    """`plain.conv2d_grads`; without a weight the input gradient is None"""
    x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    channels, filters = x.shape[3], g.shape[3]
    gx = None if weight is None else empty(*x.shape)
    gw = np.empty((9, channels, filters), np.float32)
    seen = _tiles_at_points(g, window.backwards)

    def work(low, high, _):
        if weight is not None:
            opposite = winograd.filters_at_points(winograd.turned(weight[:, :, low:high]))
            winograd.correlate(seen, opposite, gx[..., low:high], None)
        blocks = winograd.blocks_at_points(x[..., low:high])
        products = np.matmul(blocks.swapaxes(1, 2), seen).reshape(36, -1)
        winograd.transform(winograd.TURNED_T, products, gw[:, low:high].reshape(9, -1))

    _by_channels(work, filters, channels)
    return gx, gw.reshape(3, 3, channels, filters), sum_rows(g)


def _tiles_at_points(x, window: Window):
    """(36, tiles, C) of all images"""
    x = np.ascontiguousarray(x)
    count = winograd.tiles_in(window.out)
    values = empty(36, len(x) * count, x.shape[3])

    def work(low, high, _):
        values[:, low * count : high * count] = winograd.tiles_at_points(x[low:high], window)

    parallel(work, len(x), len(x), values.size)
    return values


def _by_channels(work, channels: int, filters: int) -> None:
    """Share out the filters, as many at a time as fit the cache with all their channels."""
    chunk = max(1, _CACHE // (36 * channels * 16)) * 16
    parallel(work, filters, chunk, 36 * channels * filters)
