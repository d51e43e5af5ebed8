"""Convolution layers on images (N, H, W, C)."""

from __future__ import annotations

from tinydiff import ops
from tinydiff.kernels.window import Pair, pair
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one, divides
from tinydiff.nn.module import Module


class Conv2d(Module):
    """(N, H, W, in_channels) → (N, H', W', out_channels), as `ops.conv2d` says.

    padding int, pair or "same"; weight (kh, kw, in/groups, out), bias (out,), both by
    fan-in = kh·kw·in/groups.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        kernel = _check("Conv2d", in_channels, out_channels, kernel_size, groups)
        fan_in = kernel[0] * kernel[1] * in_channels // groups
        self.weight = init.by_fan_in((*kernel, in_channels // groups, out_channels), fan_in)
        self.bias = init.by_fan_in((out_channels,), fan_in) if bias else None
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups = groups

    def forward(self, x):
        return ops.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class ConvTranspose2d(Module):
    """(N, H', W', in_channels) → (N, H, W, out_channels), as `ops.conv_transpose2d` says.

    padding int, pair or "same" (H = H'·stride); weight (kh, kw, in, out/groups), bias (out,), both
    by fan-in = kh·kw·out/groups: PyTorch's rule, which counts the convolution this is the mirror
    image of.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
    ):
        kernel = _check("ConvTranspose2d", in_channels, out_channels, kernel_size, groups)
        fan_in = kernel[0] * kernel[1] * out_channels // groups
        self.weight = init.by_fan_in((*kernel, in_channels, out_channels // groups), fan_in)
        self.bias = init.by_fan_in((out_channels,), fan_in) if bias else None
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.output_padding, self.groups = output_padding, groups

    def forward(self, x):
        return ops.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )


def _check(layer, in_channels, out_channels, kernel_size, groups) -> tuple[int, int]:
    at_least_one(layer, in_channels=in_channels, out_channels=out_channels, groups=groups)
    divides(layer, "groups", groups, in_channels=in_channels, out_channels=out_channels)
    return pair(kernel_size, f"{layer}: kernel_size", 1)
