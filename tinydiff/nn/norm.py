"""Normalisation layers: weight begins at one, bias at zero.  The equation is in `ops.norm`."""

from __future__ import annotations

import math

from tinydiff import ops
from tinydiff.backend import xp
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one, divides
from tinydiff.nn.module import Module
from tinydiff.recompute import recomputing
from tinydiff.tensor import Tensor


class GroupNorm(Module):
    """(N, …, num_channels), each group of channels of each image by itself.

    silu: follow with z·σ(z), computed in the same pass.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, silu: bool = False):
        at_least_one("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        divides("GroupNorm", "num_groups", num_groups, num_channels=num_channels)
        self.weight, self.bias = init.ones((num_channels,)), init.zeros((num_channels,))
        self.num_groups, self.eps, self.silu = num_groups, eps, silu

    def forward(self, x):
        return ops.group_norm(
            x, self.weight, self.bias, groups=self.num_groups, eps=self.eps, silu=self.silu
        )


class LayerNorm(Module):
    """(…, normalized_shape), each token by itself; normalized_shape is the number of channels."""

    def __init__(self, normalized_shape: int, eps: float = 1e-5):
        at_least_one("LayerNorm", normalized_shape=normalized_shape)
        self.weight, self.bias = init.ones((normalized_shape,)), init.zeros((normalized_shape,))
        self.eps = eps

    def forward(self, x):
        return ops.layer_norm(x, self.weight, self.bias, eps=self.eps)


class BatchNorm2d(Module):
    """(N, …, num_features), each channel over the batch.

    In training it also moves running_mean and running_var (unbiased, as in PyTorch) towards the
    batch's by the fraction ``momentum``; in evaluation those are used instead of the batch's.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        at_least_one("BatchNorm2d", num_features=num_features)
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm2d: momentum is {momentum}, expected 0 … 1")
        self.weight, self.bias = init.ones((num_features,)), init.zeros((num_features,))
        self.register_buffer("running_mean", xp.zeros(num_features, xp.float32))
        self.register_buffer("running_var", xp.ones(num_features, xp.float32))
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return ops.batch_norm(x, self.weight, self.bias, mean=mean, var=var, eps=self.eps)
        statistics = []
        y = ops.batch_norm(x, self.weight, self.bias, eps=self.eps, statistics=statistics)
        if recomputing():  # for `checkpoint`: this batch has been counted
            return y
        mean, var = statistics
        n = math.prod(x.shape[:-1])
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (var * (n / (n - 1)) - self.running_var)
        return y


class InstanceNorm2d(Module):
    """(N, …, num_features), each channel of each image by itself; learned scale if ``affine``."""

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False):
        at_least_one("InstanceNorm2d", num_features=num_features)
        self.weight = init.ones((num_features,)) if affine else None
        self.bias = init.zeros((num_features,)) if affine else None
        self.num_features, self.eps = num_features, eps

    def forward(self, x):
        weight, bias = self.weight, self.bias
        if weight is None:
            weight = Tensor(xp.ones(self.num_features, x.dtype))
            bias = Tensor(xp.zeros(self.num_features, x.dtype))
        return ops.instance_norm(x, weight, bias, eps=self.eps)
