"""The input gradient of a convolution, the way back of `im2col`: the product comes first.

    rows = g @ weightᵀ,     gx[n, i·s + a·d − p, j·s + b·d − p, c] += rows[n·i·j, a·b·c]

Each row belongs to an output pixel, and its numbers go back to where im2col would copy them from.
These are far fewer numbers than the phases of `im2col` look at where the convolution makes many
channels of a few, or a few pixels of many; of a window as large as the picture it is one product.

Source: Y. Jia, "Learning semantic image representations at a large scale", 2014 (Caffe).
"""

import math

import numpy as np

from tinydiff.kernels.fast import multiply_rows
from tinydiff.kernels.window import Window
from tinydiff.kernels.workers import empty, parallel, scratch

_ROWS = 1 << 18  # elements of `rows` at a time


def suits(channels: int, filters: int, window: Window) -> bool:
    """Where there are so much fewer numbers that adding them up one tap after the other pays."""
    ours = math.prod(window.out) * math.prod(window.stride) * channels
    return window.groups == 1 and 8 * ours <= math.prod(window.image) * filters


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`"""
    g = np.ascontiguousarray(g)
    n, (h, w), channels = len(g), window.out, weight.shape[2]
    matrix = weight.reshape(-1, weight.shape[3]).T
    gx = empty(n, *window.image, channels)
    alone = window.out == (1, 1) and window.padded == window.kernel == window.image
    if not alone:  # to turn the matrix over takes longer than a single product with it
        matrix = np.ascontiguousarray(matrix)

    def work(low, high, _):
        of_pixels = g[low:high].reshape(-1, len(matrix))
        if alone:
            np.matmul(of_pixels, matrix, out=gx[low:high].reshape(high - low, -1))
            return
        rows = scratch("rows", len(of_pixels), matrix.shape[1])
        multiply_rows(of_pixels, matrix, rows)
        rows = rows.reshape(high - low, h, w, *window.kernel, channels)
        padded = scratch("product", high - low, *window.padded, channels)
        padded[...] = 0
        for a, b, place in window.taps():
            padded[place] += rows[:, :, :, a, b]
        gx[low:high] = padded[window.inner]

    elements = h * w * matrix.shape[1]
    parallel(work, n, _ROWS // elements, n * elements)
    return gx
