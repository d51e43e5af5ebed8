"""Convolution of stride 1 to a few channels, as at the end of a network: the product comes first.

A row of `im2col` would be many times as long as what comes of it.  Instead every pixel is
multiplied by all taps of all filters, which gives a plane for each of them, and the planes are
added up, each shifted by the place of its tap:

    y[n,i,j,o] = Σ_ab plane[a,b,o][n, i + a − p, j + b − p]
    plane[a,b,o] = Σ_c weight[a,b,c,o] · x[…,c]

A plane ends where the image does: what a tap sees beyond is zero, and not added.  Planes lie apart,
where the channels of a pixel lie side by side.  BLAS can turn the one into the other on the way,
and is faster if it need not: where planes are fewer than channels, it is they that are turned.
"""

import numpy as np

from tinydiff.kernels.fast import multiply_rows
from tinydiff.kernels.window import Window
from tinydiff.kernels.workers import empty, parallel, scratch

_CHUNK = 1 << 19  # elements of x and of the planes at a time


def suits(channels: int, filters: int, window: Window) -> bool:
    return (
        filters <= 8
        and channels >= 4 * filters
        and window.stride == (1, 1)
        and window.dilation == (1, 1)
        and window.groups == 1
        and window.kernel != (1, 1)
    )


def conv2d(x, weight, bias, window: Window):
    """`plain.conv2d`"""
    n, height, width, c = x.shape
    (kh, kw), filters, (h, w) = window.kernel, weight.shape[3], window.out
    matrix = np.ascontiguousarray(weight.swapaxes(2, 3)).reshape(-1, c)
    offset = np.zeros(filters, np.float32) if bias is None else bias
    rows, columns = _met(window, 0), _met(window, 1)
    x = np.ascontiguousarray(x)
    y = empty(n, h, w, filters)

    def work(low, high, _):
        planes = scratch("rows", kh, kw, filters, high - low, height, width)
        _multiply(matrix, x[low:high].reshape(-1, c), planes.reshape(len(matrix), -1))
        total = scratch("product", filters, high - low, h, w)
        total[...] = offset[:, None, None, None]
        for a, (row, seen_row) in enumerate(rows):
            for b, (column, seen_column) in enumerate(columns):
                part = total[:, :, row, column]
                np.add(part, planes[a, b, :, :, seen_row, seen_column], out=part)
        y[low:high] = total.transpose(1, 2, 3, 0)

    elements = height * width * (c + len(matrix))
    parallel(work, n, _CHUNK // elements, n * elements)
    return y


def _multiply(matrix, pixels, planes) -> None:
    """planes = matrix @ pixelsᵀ"""
    if len(matrix) < pixels.shape[1]:
        product = scratch("turned", len(pixels), len(matrix))
        multiply_rows(pixels, matrix.T, product)
        np.copyto(planes, product.T)
    else:
        np.matmul(matrix, pixels.T, out=planes)


def _met(window: Window, axis: int) -> list[tuple[slice, slice]]:
    """For each tap along one axis: the outputs at which it sees the image, and what it sees."""
    image, out, before = window.image[axis], window.out[axis], window.padding[axis][0]
    met = []
    for tap in range(window.kernel[axis]):
        first = max(before - tap, 0)
        last = max(min(image + before - tap, out), first)
        met.append((slice(first, last), slice(first + tap - before, last + tap - before)))
    return met


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`"""
    return conv2d(g, weight[::-1, ::-1].swapaxes(2, 3), None, window.backwards)
