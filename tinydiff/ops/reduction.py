"""Sums and their relatives over one axis, several, or all (axis=None)."""

import math

from tinydiff import kernels
from tinydiff.backend import xp
from tinydiff.ops import checks
from tinydiff.tensor import op


def _spread(reduced, axes, shape):
    """A reduced array (a view of it) as if the reduced axes were still there."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return xp.broadcast_to(reduced.reshape(kept), shape)


@op
def sum(x, *, axis=None, keepdims=False):
    """Σ x"""
    axes = checks.axes("sum", axis, x.ndim)
    return x.sum(axis=axes, keepdims=keepdims), (lambda g: _spread(g, axes, x.shape),)


@op
def mean(x, *, axis=None, keepdims=False):
    """Σ x / n"""
    axes = checks.axes("mean", axis, x.ndim)
    checks.values("mean", x, axes)
    n = math.prod(x.shape[a] for a in axes)
    return x.mean(axis=axes, keepdims=keepdims), (lambda g: _spread(g / n, axes, x.shape),)


@op
def var(x, *, axis=None, keepdims=False, correction=0):
    """Σ (x − mean)² / (n − correction)"""
    axes = checks.axes("var", axis, x.ndim)
    n = math.prod(x.shape[a] for a in axes) - correction
    if n <= 0:
        raise ValueError(f"var: {n + correction} values with correction={correction} have none")
    centred = x - x.mean(axis=axes, keepdims=True)
    y = (centred * centred).sum(axis=axes, keepdims=keepdims) / n
    return y, (lambda g: _spread(g * (2 / n), axes, x.shape) * centred,)


@op
def max(x, *, axis=None, keepdims=False):
    """The largest value; equal ones share the gradient."""
    return _extreme("max", x, x.max, axis, keepdims)


@op
def min(x, *, axis=None, keepdims=False):
    """The smallest value; equal ones share the gradient."""
    return _extreme("min", x, x.min, axis, keepdims)


def _extreme(name, x, reduce, axis, keepdims):
    axes = checks.axes(name, axis, x.ndim)
    checks.values(name, x, axes)
    y = xp.asarray(reduce(axis=axes, keepdims=keepdims))

    def rule(g):
        hit = x == _spread(y, axes, x.shape)
        return _spread(g, axes, x.shape) * hit / hit.sum(axis=axes, keepdims=True, dtype=x.dtype)

    return y, (rule,)


@op
def logsumexp(x, *, axis=-1, keepdims=False):
    """ln Σ eˣ, computed as m + ln Σ eˣ⁻ᵐ with m = max x along the axis"""
    axes = checks.axes("logsumexp", axis, x.ndim)
    checks.values("logsumexp", x, axes)
    m = x.max(axis=axes, keepdims=True)
    m = xp.where(xp.isfinite(m), m, 0)
    e = xp.exp(x - m)
    total = e.sum(axis=axes, keepdims=True)
    y = xp.log(total) + m
    if not keepdims:
        y = y.reshape(tuple(n for i, n in enumerate(x.shape) if i not in axes))
    return y, (lambda g: _spread(g, axes, x.shape) * (e / total),)


@op
def softmax(x, *, axis=-1):
    """eˣ / Σ eˣ along one axis; the maximum of each row is subtracted first, not the global one."""
    axis = checks.one_axis("softmax", axis, x.ndim)
    checks.values("softmax", x, (axis,))
    y = kernels.softmax(x, axis)
    return y, (lambda g: y * (g - (g * y).sum(axis=axis, keepdims=True)),)


@op
def log_softmax(x, *, axis=-1):
    """x − ln Σ eˣ along one axis"""
    axis = checks.one_axis("log_softmax", axis, x.ndim)
    checks.values("log_softmax", x, (axis,))
    shifted = x - x.max(axis=axis, keepdims=True)
    y = shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))
    return y, (lambda g: g - xp.exp(y) * g.sum(axis=axis, keepdims=True),)
