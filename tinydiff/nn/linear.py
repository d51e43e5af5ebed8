"""The linear layer: y = x W + b."""

from tinydiff import ops
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one
from tinydiff.nn.module import Module


class Linear(Module):
    """(…, in_features) → (…, out_features); weight (in, out), bias (out,), by fan-in = in."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        at_least_one("Linear", in_features=in_features, out_features=out_features)
        self.weight = init.by_fan_in((in_features, out_features), in_features)
        self.bias = init.by_fan_in((out_features,), in_features) if bias else None

    def forward(self, x):
        return ops.linear(x, self.weight, self.bias)
