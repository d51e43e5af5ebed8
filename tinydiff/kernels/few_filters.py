"""Convolution of stride 1 to a few channels, as at the end of a network: the product comes first.

A row of `im2col` would be many times as long as what comes of it.  Instead every pixel is
multiplied by all taps of all filters, which gives a plane for each of them, and the planes are
added up, each shifted by the place of its tap:

    y[n,i,j,o] = Σ_ab plane[a,b,o][n, i + a, j + b],    plane[a,b,o] = Σ_c weight[a,b,c,o] · x[…,c]
"""

import numpy as np

from tinydiff.kernels.frame import framed
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
    n, c = len(x), x.shape[3]
    (kh, kw), filters, (h, w) = window.kernel, weight.shape[3], window.out
    (top, _), (left, _) = window.padding
    height, width = window.padded
    matrix = np.ascontiguousarray(weight.swapaxes(2, 3)).reshape(-1, c)
    offset = np.zeros(filters, np.float32) if bias is None else bias
    x = np.ascontiguousarray(x)
    y = empty(n, h, w, filters)

    def work(low, high, _):
        pixels = framed(x[low:high], top, left, height, width).reshape(-1, c)
        planes = scratch("rows", kh, kw, filters, high - low, height, width)
        np.matmul(matrix, pixels.T, out=planes.reshape(len(matrix), -1))
        total = scratch("product", filters, high - low, h, w)
        total[...] = offset[:, None, None, None]
        for a in range(kh):
            for b in range(kw):
                np.add(total, planes[a, b, :, :, a : a + h, b : b + w], out=total)
        y[low:high] = total.transpose(1, 2, 3, 0)

    elements = height * width * (c + len(matrix))
    parallel(work, n, _CHUNK // elements, n * elements)
    return y


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`"""
    return conv2d(g, weight[::-1, ::-1].swapaxes(2, 3), None, window.backwards)
