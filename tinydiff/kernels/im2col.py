"""Convolution as one matrix product: every output pixel becomes a row of the pixels it sees.

    rows[n·i·j, a·b·c] = x[n, i·s + a·d − p, j·s + b·d − p, c],     y = rows @ weight

The rows of a few images at a time stay in the cache; channels last makes each a few long copies.
The input gradient is again such a product.  With stride s the pixels of one residue class modulo
s meet only the taps of one class, so it falls into s × s small convolutions of stride 1 over g
("phases"); for stride 1 there is one, with the kernel turned by 180°.

Source: K. Chellapilla et al., "High performance convolutional neural networks …", 2006;
phases: W. Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016.
"""

import math
from typing import NamedTuple

import numpy as np

from tinydiff.kernels.fast import multiply_columns, multiply_rows, sum_pixels, sum_rows
from tinydiff.kernels.frame import framed
from tinydiff.kernels.pixels import move
from tinydiff.kernels.window import Window
from tinydiff.kernels.workers import empty, parallel, parallel_sum, scratch

_ROWS = 1 << 19  # elements of `rows` at a time


def suits(window: Window) -> bool:
    """One group of channels, and not both stride and dilation."""
    return window.groups == 1 and (window.stride == (1, 1) or window.dilation == (1, 1))


def conv2d(x, weight, bias, window: Window):
    """`plain.conv2d`"""
    x = np.ascontiguousarray(x)
    n, (h, w), filters = len(x), window.out, weight.shape[3]
    matrix = np.ascontiguousarray(weight).reshape(-1, filters)
    y = empty(n, h, w, filters)

    def work(low, high, _):
        rows = _seen(x[low:high], window)
        out = y[low:high].reshape(len(rows), filters)
        multiply_rows(rows, matrix, out)
        if bias is not None:
            np.add(out, bias, out=out)

    parallel(work, n, _ROWS // (h * w * len(matrix)), n * h * w * len(matrix))
    return y


def conv2d_weight_grad(x, g, window: Window):
    """`plain.conv2d_weight_grad`"""
    x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    n, h, w, filters = g.shape
    taps = window.kernel[0] * window.kernel[1] * x.shape[3]

    def work(low, high, out):
        rows = _seen(x[low:high], window)
        multiply_columns(rows, g[low:high].reshape(len(rows), filters), out)

    elements = h * w * taps
    total = parallel_sum(work, n, _ROWS // elements, n * elements, (taps, filters))
    return total.reshape(*window.kernel, x.shape[3], filters)


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`"""
    g = np.ascontiguousarray(g)
    n, channels = len(g), weight.shape[2]
    gx = empty(n, *window.image, channels)
    phases = [(down, right) for down in _phases(window, 0) for right in _phases(window, 1)]
    turned = [
        np.ascontiguousarray(weight[down.taps, right.taps][::-1, ::-1].swapaxes(2, 3))
        for down, right in phases
    ]
    margins = tuple(_margins(window, axis) for axis in (0, 1))
    dilation = window.dilation
    (sh, sw), (top, left) = window.stride, (margins[0][0], margins[1][0])
    size = [n + sum(m) for n, m in zip(window.out, margins, strict=True)]

    def work(low, high, _):
        padded = framed(g[low:high], top, left, *size)
        for (down, right), w in zip(phases, turned, strict=True):
            target = gx[low:high, down.pixel :: sh, right.pixel :: sw]
            if w.size == 0:
                target[...] = 0  # between windows that do not touch
                continue
            start = (top + down.start, left + right.start)
            rows = _rows(padded, w.shape[:2], (1, 1), dilation, target.shape[1:3], start)
            product = scratch("product", len(rows), channels)
            multiply_rows(rows, w.reshape(-1, channels), product)
            move(product.reshape(target.shape), target)

    longest = max(math.prod(w.shape[:3]) for w in turned)
    area = math.prod(window.image) // math.prod(window.stride)
    parallel(work, n, _ROWS // max(area * longest, 1), n * g[0].size * math.prod(window.kernel))
    return gx


def conv2d_grads(x, g, weight, window: Window):
    """`plain.conv2d_grads`: with stride 1, both from the rows of what each pixel of g is seen by

    Turned by 180°, the weight gradient is a product of x with the matrix of the input gradient.
    """
    filters, channels = g.shape[3], x.shape[3]
    if window.stride != (1, 1) or filters > channels:
        gx, gw = conv2d_input_grad(g, weight, window), conv2d_weight_grad(x, g, window)
        return gx, gw, sum_rows(g)
    x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    turned = np.ascontiguousarray(weight[::-1, ::-1].swapaxes(2, 3)).reshape(-1, channels)
    gx = empty(*x.shape)
    back = window.backwards

    of_images = np.empty((len(g), filters), np.float32)

    def work(low, high, out):
        of_images[low:high] = sum_pixels(g[low:high])
        rows = _seen(g[low:high], back)
        multiply_rows(rows, turned, gx[low:high].reshape(len(rows), channels))
        multiply_columns(rows, x[low:high].reshape(len(rows), channels), out)

    elements = math.prod(window.image) * len(turned)
    total = parallel_sum(work, len(x), _ROWS // elements, len(x) * elements, turned.shape)
    gw = total.reshape(*window.kernel, filters, channels)
    return gx, gw[::-1, ::-1].swapaxes(2, 3), of_images.sum(axis=0)


class _Phase(NamedTuple):
    """Along one axis, the input pixels whose place in the padded input is ≡ r modulo the stride."""

    pixel: int  # the first of them; the others follow in steps of the stride
    count: int
    taps: slice  # the taps that meet them
    size: int  # how many
    start: int  # where in g the window of the first pixel begins


def _phases(window: Window, axis: int) -> list[_Phase]:
    s, k, n = window.stride[axis], window.kernel[axis], window.image[axis]
    p, d = window.padding[axis][0], window.dilation[axis]
    phases = []
    for r in range(s):
        size = len(range(r, k, s))
        pixel = (r - p) % s
        count = len(range(pixel, n, s))
        start = (p + pixel - r) // s - (size - 1) * d
        if count:
            phases.append(_Phase(pixel, count, slice(r, None, s), size, start))
    return phases


def _margins(window: Window, axis: int) -> tuple[int, int]:
    """How much padding g needs so that every window of every phase finds what it reads."""
    d, phases = window.dilation[axis], _phases(window, axis)
    before = max(-p.start for p in phases)
    after = max(p.start + p.count + (p.size - 1) * d - window.out[axis] for p in phases)
    return max(before, 0), max(after, 0)


def _seen(x, window: Window):
    """The matrix of what each output pixel sees."""
    (top, _), (left, _) = window.padding
    padded = framed(x, top, left, *window.padded)
    return _rows(padded, window.kernel, window.stride, window.dilation, window.out)


def _rows(x, kernel, stride, dilation, out, start=(0, 0)):
    """(n·H'·W', kh·kw·C): for each output pixel, the pixels of contiguous x under the window.

    The first window begins at pixel ``start``.
    """
    (kh, kw), (sh, sw), (dh, dw), (h, w) = kernel, stride, dilation, out
    n, c = len(x), x.shape[3]
    if kernel == (1, 1) and x.shape[1:3] == out:
        return x.reshape(-1, c)
    image, row, pixel, value = x.strides
    if dw == 1:  # the taps of one row lie side by side: one run of kw·C numbers
        shape, strides = (kw * c,), (value,)
    else:
        shape, strides = (kw, c), (dw * pixel, value)
    # The constructor makes the same view as as_strided, in a thirtieth of the time.
    windows = np.ndarray(
        (n, h, w, kh, *shape),
        np.float32,
        x,
        start[0] * row + start[1] * pixel,
        (image, sh * row, sw * pixel, dh * row, *strides),
    )
    rows = scratch("rows", n * h * w, kh * kw * c)
    np.copyto(rows.reshape(windows.shape), windows)
    return rows
