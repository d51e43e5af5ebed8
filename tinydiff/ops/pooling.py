"""Pooling: one number per window and channel; and max-pooling undone, by its switches."""

from typing import NamedTuple

from tinydiff import kernels
from tinydiff.backend import xp
from tinydiff.kernels.window import Window
from tinydiff.ops import checks
from tinydiff.ops.reduction import max as _max
from tinydiff.ops.reduction import mean as _mean
from tinydiff.ops.relu import back_through_relu
from tinydiff.tensor import Tensor, op


def _window(name, x, kernel, stride, padding) -> Window:
    checks.image(name, x)
    checks.floating(name, "the image", x)
    kernel = kernels.pair(kernel, "kernel", 1)
    stride = kernel if stride is None else stride
    window = Window.over(x.shape[1:3], kernel, stride=stride, padding=padding)
    if any(p >= k for k, pads in zip(kernel, window.padding, strict=True) for p in pads):
        raise ValueError(f"{name}: padding {padding} is not smaller than the kernel {kernel}")
    return window


class Switches(NamedTuple):
    """Where max-pooling found its maxima: for each of its results, the tap of the window."""

    taps: object  # an array of the backend, (N, H', W', C)
    window: Window


@op
def max_pool2d(x, *, kernel, stride=None, padding=0, switches: list | None = None):
    """The largest value in each window, per channel; stride defaults to the kernel.

    The gradient goes back to where the maximum was found (the first one, row by row): the
    "switches" of Zeiler & Fergus 2014.  Those are appended to the list ``switches``, if one is
    given, for `max_unpool2d`.
    """
    window = _window("max_pool2d", x, kernel, stride, padding)
    y, taps = kernels.max_pool(x, window)
    if switches is not None:
        switches.append(Switches(taps, window))
    return y, (lambda g: kernels.max_pool_grad(g, taps, window),)


@op
def relu_max_pool2d(x, *, kernel, stride=None):
    """max_pool2d(relu(x)), of windows that do not overlap, as relu(max_pool2d(x)): fewer numbers

    The largest of numbers that were cut off at zero is the largest of all, cut off at zero.  Where
    none is positive they are all the same then, and the maximum is at the first.
    """
    window = _window("relu_max_pool2d", x, kernel, stride, 0)
    if any(s < k for s, k in zip(window.stride, window.kernel, strict=True)):
        raise ValueError(
            f"relu_max_pool2d: windows of {window.kernel} overlap with a stride of {window.stride}"
        )
    largest, taps = kernels.max_pool(x, window)
    y = kernels.relu(largest, largest)
    taps *= y != 0
    return y, (lambda g: kernels.max_pool_grad(back_through_relu(g, y), taps, window),)


@op
def max_unpool2d(y, *, switches):
    """Each value to where its window had its maximum, else 0: (N, H', W', C) → (N, H, W, C)

    The gradient of `max_pool2d`, used forwards; values that meet in a pixel, where windows
    overlap, add up.  Each switch was appended by max_pool2d for a picture of this many channels:

        kept = []
        y = max_pool2d(x, kernel=2, switches=kept)
        x_again = max_unpool2d(y, switches=kept.pop())

    Source: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
    section 2.1.
    """
    if not isinstance(switches, Switches):
        raise TypeError(
            f"max_unpool2d: switches is {type(switches).__name__}, expected what max_pool2d "
            "appended to the list it was given"
        )
    taps, window = switches
    checks.floating("max_unpool2d", "the image", y)
    if y.shape != taps.shape:
        raise ValueError(f"max_unpool2d: switches are for {taps.shape}, the image has {y.shape}")

    def rule(g):
        seen, gradient = kernels.pad(g, window), xp.zeros(y.shape, g.dtype)
        for tap, (_, _, where) in enumerate(window.taps()):
            gradient += seen[where] * (taps == tap)
        return gradient

    return kernels.max_pool_grad(y, taps, window), (rule,)


@op
def avg_pool2d(x, *, kernel, stride=None, padding=0):
    """The mean of each window, per channel, padding counted as zeros; stride defaults to kernel."""
    window = _window("avg_pool2d", x, kernel, stride, padding)
    n = window.kernel[0] * window.kernel[1]
    padded = kernels.pad(x, window)
    y = xp.zeros((len(x), *window.out, x.shape[3]), x.dtype)
    for _, _, where in window.taps():
        y += padded[where]

    def rule(g):
        full = xp.zeros(padded.shape, g.dtype)
        for _, _, where in window.taps():
            full[where] += g / n
        return full[window.inner]

    return y / n, (rule,)


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean over all pixels: (N, H, W, C) → (N, C)"""
    checks.image("global_avg_pool2d", x)
    return _mean(x, axis=(1, 2))


def global_max_pool2d(x: Tensor) -> Tensor:
    """The largest value over all pixels: (N, H, W, C) → (N, C)"""
    checks.image("global_max_pool2d", x)
    return _max(x, axis=(1, 2))
