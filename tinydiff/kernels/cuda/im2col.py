"""Convolution as one matrix product on a GPU: each output pixel is a row of the pixels it sees.

    rows[n·i·j, a·b·c] = x[n, i·s + a·d − p, j·s + b·d − p, c],     y = rows @ weight

The weight gradient is rowsᵀ @ g.  For the input gradient, g @ weightᵀ are rows, from which each
input pixel collects what is its own.  No two threads add to the same number, so results are the
same every time.  The kernels, which gather and collect, are in im2col.cu.

With stride 1 a convolution is the input gradient of another, with the kernel turned by 180°: each
can be had by gathering rows of its input or by collecting from rows of its output.  Whichever of
the two has fewer channels becomes rows, which are the larger part of the memory traffic.
"""

import math

import cupy

from tinydiff.kernels.cuda.chunks import chunks
from tinydiff.kernels.cuda.product import matmul
from tinydiff.kernels.cuda.source import THREADS, Source
from tinydiff.kernels.cuda.sums import sum_rows
from tinydiff.kernels.window import Window

_kernels = Source("im2col")


def suits(channels: int, filters: int, window: Window) -> bool:
    """One group of channels"""
    return window.groups == 1


def traffic(images: int, channels: int, filters: int, window: Window) -> int:
    """Elements that a convolution, or its weight gradient, reads and writes"""
    if _fewer_filters(channels, filters, window):
        rows = _row_elements(window.backwards, filters)
    else:
        rows = _row_elements(window, channels)
    pixels = math.prod(window.image) * channels + math.prod(window.out) * filters
    return images * (2 * rows + pixels) + math.prod(window.kernel) * channels * filters


def conv2d(x, weight, bias, window: Window):
    """`plain.conv2d`"""
    if _fewer_filters(*weight.shape[2:], window):
        y = _by_collecting(x, _turned(weight), window.backwards)
    else:
        y = _by_gathering(x, weight, window)
    return y if bias is None else cupy.add(y, bias, out=y)


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`"""
    if window.stride == (1, 1):
        return conv2d(g, _turned(weight), None, window.backwards)
    return _by_collecting(g, weight, window)


def conv2d_weight_grad(x, g, window: Window):
    """`plain.conv2d_weight_grad`"""
    if _fewer_filters(x.shape[3], g.shape[3], window):
        return _turned(_weight_grad(g, x, window.backwards))
    return _weight_grad(x, g, window)


def conv2d_grads(x, g, weight, window: Window):
    """`plain.conv2d_grads`"""
    gx, gw = conv2d_input_grad(g, weight, window), conv2d_weight_grad(x, g, window)
    return gx, gw, sum_rows(g)


def _fewer_filters(channels: int, filters: int, window: Window) -> bool:
    """Whether the output is what should become rows"""
    return window.stride == (1, 1) and filters < channels and not _pointwise(window)


def _pointwise(window: Window) -> bool:
    """Whether each output pixel sees the one input pixel in its place, so that x are the rows"""
    ones = (window.kernel, window.stride) == ((1, 1), (1, 1))
    return ones and window.out == window.image and not any(map(any, window.padding))


def _turned(weight):
    """The kernel turned by 180°, input and output channels swapped"""
    return weight[::-1, ::-1].swapaxes(2, 3)


def _by_gathering(x, weight, window: Window):
    x = cupy.ascontiguousarray(x)
    channels, filters = weight.shape[2:]
    matrix = weight.reshape(-1, filters)
    y = cupy.empty((len(x), *window.out, filters), x.dtype)
    for part in chunks(len(x), _row_elements(window, channels), x.dtype):
        matmul(_rows(x[part], window), matrix, out=y[part].reshape(-1, filters))
    return y


def _by_collecting(g, weight, window: Window):
    g = cupy.ascontiguousarray(g)
    channels, filters = weight.shape[2:]
    matrix = weight.reshape(-1, filters).T
    gx = cupy.empty((len(g), *window.image, channels), g.dtype)
    for part in chunks(len(g), _row_elements(window, channels), g.dtype):
        _collect(matmul(g[part].reshape(-1, filters), matrix), gx[part], window)
    return gx


def _weight_grad(x, g, window: Window):
    x, g = cupy.ascontiguousarray(x), cupy.ascontiguousarray(g)
    channels, filters = x.shape[3], g.shape[3]
    total = None
    for part in chunks(len(x), _row_elements(window, channels), x.dtype):
        product = matmul(_rows(x[part], window).T, g[part].reshape(-1, filters))
        total = product if total is None else cupy.add(total, product, out=total)
    return total.reshape(*window.kernel, channels, filters)


def _row_elements(window: Window, channels: int) -> int:
    """In the rows of one image, those that are written and read again"""
    taps = math.prod(window.kernel)
    return 0 if _pointwise(window) else math.prod(window.out) * taps * channels


def _rows(x, window: Window):
    """(n·H'·W', kh·kw·C)"""
    n, h, w, c = x.shape
    if _pointwise(window):
        return x.reshape(-1, c)
    pixels = n * math.prod(window.out)
    rows = cupy.empty((pixels, math.prod(window.kernel) * c), x.dtype)
    count = pixels * c
    _kernels.gather(-(-count // THREADS), THREADS, x, rows, count, h, w, c, *_geometry(window))
    return rows


def _collect(rows, x, window: Window) -> None:
    """x (n, H, W, C), each pixel the sum of its places in the rows"""
    _, h, w, c = x.shape
    steps = []
    for stride, dilation in zip(window.stride, window.dilation, strict=True):
        common = math.gcd(stride, dilation)
        steps += [stride // common, dilation // common]
    blocks = -(-x.size // THREADS)
    _kernels.collect(blocks, THREADS, rows, x, x.size, h, w, c, *_geometry(window), *steps)


def _geometry(window: Window):
    """What both kernels are told of the window"""
    (top, _), (left, _) = window.padding
    return *window.out, *window.kernel, *window.stride, *window.dilation, top, left
