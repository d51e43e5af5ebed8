"""Pooling as layers, on images (N, H, W, C); stride defaults to the kernel."""

from __future__ import annotations

from tinydiff import ops
from tinydiff.kernels.window import Pair, pair
from tinydiff.nn.module import Module


class _Pool2d(Module):
    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
        self.kernel_size = pair(kernel_size, f"{type(self).__name__}: kernel_size", 1)
        self.stride, self.padding = stride, padding


class MaxPool2d(_Pool2d):
    """The largest value of each window."""

    def forward(self, x):
        return ops.max_pool2d(x, kernel=self.kernel_size, stride=self.stride, padding=self.padding)


class AvgPool2d(_Pool2d):
    """The mean of each window, padding counted as zeros."""

    def forward(self, x):
        return ops.avg_pool2d(x, kernel=self.kernel_size, stride=self.stride, padding=self.padding)


class GlobalAvgPool2d(Module):
    """The mean over all pixels: (N, H, W, C) → (N, C)."""

    def forward(self, x):
        return ops.global_avg_pool2d(x)
