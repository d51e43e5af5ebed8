"""Elementwise arithmetic and functions: the table of derivatives everybody learns first.

Inputs broadcast as in NumPy; the engine sums a gradient back over broadcast axes.
"""

import numpy as np

from tinydiff import kernels
from tinydiff.backend import xp
from tinydiff.tensor import Tensor, op


@op
def add(a, b):
    """a + b"""
    return kernels.add(a, b), (lambda g: g, lambda g: g)


@op
def sub(a, b):
    """a − b"""
    return a - b, (lambda g: g, lambda g: -g)


@op
def mul(a, b):
    """a · b"""
    return a * b, (lambda g: g * b, lambda g: g * a)


@op
def div(a, b):
    """a / b"""
    return a / b, (lambda g: g / b, lambda g: -g * (a / b) / b)


@op
def neg(x):
    """−x"""
    return -x, (lambda g: -g,)


@op
def power(x, n):
    """xⁿ; the derivative with respect to n needs x > 0, where x = 0 it is taken as 0."""
    y = x**n

    def base(g):
        # 0·x⁻¹ would be NaN at x = 0, though x⁰ is constant.
        slope = xp.where(xp.equal(n, 0), 0, n * x ** xp.where(xp.equal(n, 0), 1, n - 1))
        return g * slope.astype(g.dtype)

    def exponent(g):
        return g * y * xp.log(xp.where(xp.equal(x, 0), 1, x)).astype(g.dtype)

    if isinstance(n, (int, float)) and n != 0:
        return y, (lambda g: g * (n * x ** (n - 1)), exponent)
    return y, (base, exponent)


@op
def square(x):
    """x²"""
    return x * x, (lambda g: g * (2 * x),)


@op
def exp(x):
    """eˣ"""
    y = xp.exp(x)
    return y, (lambda g: g * y,)


@op
def log(x):
    """ln x"""
    return xp.log(x), (lambda g: g / x,)


@op
def sqrt(x):
    """√x"""
    y = xp.sqrt(x)
    return y, (lambda g: g / (2 * y),)


@op
def abs(x):
    """|x|, with derivative 0 at 0"""
    return xp.abs(x), (lambda g: g * xp.sign(x),)


@op
def sin(x):
    """sin x"""
    return xp.sin(x), (lambda g: g * xp.cos(x),)


@op
def cos(x):
    """cos x"""
    return xp.cos(x), (lambda g: -g * xp.sin(x),)


@op
def clip(x, *, low=None, high=None):
    """min(max(x, low), high); the gradient passes where low ≤ x ≤ high."""
    for bound in (low, high):
        if not (bound is None or isinstance(bound, (int, float))):
            raise TypeError(f"clip: bounds are numbers, got {bound!r}; use maximum and minimum")
    if low is None and high is None:
        raise ValueError("clip: give low, high or both")
    if low is not None and high is not None and not low <= high:
        raise ValueError(f"clip: low is {low}, which is not ≤ high, {high}")
    y = xp.clip(x, low, high)
    return y, (lambda g: g * (y == x),)


@op
def maximum(a, b):
    """The larger of a and b; where they are equal each gets half of the gradient."""
    return xp.maximum(a, b), (
        lambda g: g * _wins(a, b).astype(g.dtype),
        lambda g: g * _wins(b, a).astype(g.dtype),
    )


@op
def minimum(a, b):
    """The smaller of a and b; where they are equal each gets half of the gradient."""
    return xp.minimum(a, b), (
        lambda g: g * _wins(b, a).astype(g.dtype),
        lambda g: g * _wins(a, b).astype(g.dtype),
    )


def _wins(a, b):
    return xp.greater(a, b) + 0.5 * xp.equal(a, b)


@op
def where(condition, a, b):
    """a where condition holds, else b."""
    condition = xp.asarray(condition)  # CuPy knows no where(True, …)
    return xp.where(condition, a, b), (
        None,
        lambda g: xp.where(condition, g, 0),
        lambda g: xp.where(condition, 0, g),
    )


def astype(x: Tensor, *, dtype) -> Tensor:
    """x converted to another dtype; between floating-point ones the gradient is converted back."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    dtype = np.dtype(dtype)
    if x.dtype.kind == dtype.kind == "f":
        return _astype(x, dtype=dtype)
    return Tensor(x.data.astype(dtype))


@op
def _astype(x, *, dtype):
    return x.astype(dtype), (lambda g: g.astype(x.dtype),)
