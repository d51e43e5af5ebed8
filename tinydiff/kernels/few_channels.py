"""Convolution of a few channels, as at the start of a network: `im2col` lying on its side.

There a pixel's row would be a few short copies.  With the channels first, each tap sees a plane of
the image, whose rows are long; a last row of ones meets the bias:

    columns[a·b·c, n·i·j] = x[n, i·s + a·d − p, j·s + b·d − p, c],    y = columnsᵀ @ weight
"""

import numpy as np

from tinydiff.kernels.fast import multiply_columns, multiply_rows
from tinydiff.kernels.frame import framed
from tinydiff.kernels.window import Window
from tinydiff.kernels.workers import empty, parallel, parallel_sum, scratch

_COLUMNS = 1 << 19  # elements of `columns` at a time


def suits(channels: int, window: Window) -> bool:
    """Some taps, and runs of at most a dozen numbers."""
    return window.groups == 1 and window.kernel[1] > 1 and channels * window.kernel[1] <= 12


def conv2d(x, weight, bias, window: Window):
    """`plain.conv2d`"""
    filters = weight.shape[3]
    offset = np.zeros(filters, np.float32) if bias is None else bias
    matrix = np.vstack([weight.reshape(-1, filters), offset])
    y = empty(len(x), *window.out, filters)

    def work(low, high, _):
        columns = _columns(x[low:high], window)
        multiply_rows(columns.T, matrix, y[low:high].reshape(-1, filters))

    elements = len(matrix) * window.out[0] * window.out[1]
    parallel(work, len(x), _COLUMNS // elements, len(x) * elements)
    return y


def conv2d_weight_grad(x, g, window: Window):
    """`plain.conv2d_weight_grad`"""
    g = np.ascontiguousarray(g)
    channels, filters = x.shape[3], g.shape[3]
    taps = window.kernel[0] * window.kernel[1] * channels

    def work(low, high, out):
        columns = _columns(x[low:high], window)[:-1]
        multiply_columns(columns.T, g[low:high].reshape(-1, filters), out)

    elements = taps * window.out[0] * window.out[1]
    total = parallel_sum(work, len(x), _COLUMNS // elements, len(x) * elements, (taps, filters))
    return total.reshape(*window.kernel, channels, filters)


def _columns(x, window: Window):
    """(kh·kw·C + 1, n·H'·W'), the last row of ones"""
    (kh, kw), (sh, sw), (dh, dw), (h, w) = (
        window.kernel,
        window.stride,
        window.dilation,
        window.out,
    )
    n, c = len(x), x.shape[3]
    (top, _), (left, _) = window.padding
    planes = scratch("planes", c, n, *window.padded)
    np.copyto(planes, framed(x, top, left, *window.padded).transpose(3, 0, 1, 2))
    plane, image, row, pixel = planes.strides
    # The constructor makes the same view as as_strided, in a thirtieth of the time.
    seen = np.ndarray(
        (kh, kw, c, n, h, w),
        np.float32,
        planes,
        0,
        (dh * row, dw * pixel, plane, image, sh * row, sw * pixel),
    )
    columns = scratch("rows", kh * kw * c + 1, n * h * w)
    np.copyto(columns[:-1].reshape(seen.shape), seen)
    columns[-1] = 1
    return columns
