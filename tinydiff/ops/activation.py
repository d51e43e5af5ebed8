"""Nonlinearities; ReLU is in relu.py.  σ: logistic function, Φ: normal distribution function."""

import math

from tinydiff import kernels
from tinydiff.backend import xp
from tinydiff.tensor import op


@op
def leaky_relu(x, *, slope=0.01):
    """x where x > 0, else slope·x"""
    return xp.where(x > 0, x, slope * x), (lambda g: xp.where(x > 0, g, slope * g),)


@op
def elu(x, *, alpha=1.0):
    """x where x > 0, else α(eˣ − 1)    (Clevert et al. 2016)"""
    tail = alpha * xp.expm1(xp.minimum(x, 0))
    return xp.where(x > 0, x, tail), (lambda g: xp.where(x > 0, g, g * (tail + alpha)),)


@op
def tanh(x):
    """tanh x"""
    y = xp.tanh(x)
    return y, (lambda g: g * (1 - y * y),)


@op
def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ)"""
    y = kernels.sigmoid(x)
    return y, (lambda g: g * y * (1 - y),)


@op
def silu(x):
    """x·σ(x)    (swish; Ramachandran et al. 2017)"""
    return kernels.silu(x), (lambda g: kernels.silu_grad(g, x),)


@op
def softplus(x):
    """ln(1 + eˣ)"""
    return xp.logaddexp(x, xp.zeros_like(x)), (lambda g: g * kernels.sigmoid(x),)


@op
def gelu(x, *, approximate=False):
    """x·Φ(x), or with approximate=True its tanh form    (Hendrycks & Gimpel 2016)

    ½x(1 + tanh(√(2/π)(x + 0.044715x³)))
    """
    if approximate:
        c, a = math.sqrt(2 / math.pi), 0.044715
        t = xp.tanh(c * (x + a * x * x * x))
        slope = lambda: 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * a * x * x)
        return 0.5 * x * (1 + t), (lambda g: g * slope(),)
    return kernels.gelu(x), (lambda g: kernels.gelu_grad(g, x),)
