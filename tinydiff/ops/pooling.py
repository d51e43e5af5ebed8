"""Pooling: one number per window and channel."""

from tinydiff import kernels
from tinydiff.backend import xp
from tinydiff.kernels.window import Window
from tinydiff.ops import checks
from tinydiff.ops.reduction import max as _max
from tinydiff.ops.reduction import mean as _mean
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


@op
def max_pool2d(x, *, kernel, stride=None, padding=0):
    """The largest value in each window, per channel; stride defaults to the kernel.

    The gradient goes back to where the maximum was found (the first one, row by row): the
    "switches" of Zeiler & Fergus 2014.
    """
    window = _window("max_pool2d", x, kernel, stride, padding)
    y, switches = kernels.max_pool(x, window)
    return y, (lambda g: kernels.max_pool_grad(g, switches, window),)


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
