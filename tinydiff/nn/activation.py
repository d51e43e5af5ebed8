"""Nonlinearities as layers, for use in Sequential; the functions are in `ops.activation`."""

from tinydiff import ops
from tinydiff.nn.module import Module


class ReLU(Module):
    def forward(self, x):
        return ops.relu(x)


class LeakyReLU(Module):
    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def forward(self, x):
        return ops.leaky_relu(x, slope=self.negative_slope)


class ELU(Module):
    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def forward(self, x):
        return ops.elu(x, alpha=self.alpha)


class SiLU(Module):
    def forward(self, x):
        return ops.silu(x)


class GELU(Module):
    """Exact, or with approximate=True the tanh form."""

    def __init__(self, approximate: bool = False):
        self.approximate = approximate

    def forward(self, x):
        return ops.gelu(x, approximate=self.approximate)


class Softplus(Module):
    def forward(self, x):
        return ops.softplus(x)


class Sigmoid(Module):
    def forward(self, x):
        return ops.sigmoid(x)


class Tanh(Module):
    def forward(self, x):
        return ops.tanh(x)
