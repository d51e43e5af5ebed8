"""The derivative against finite differences: is the gradient the one of the function computed?

For a random direction v and random weights u of the outputs, in float64,

    Σ u·∂f/∂x·v   must equal   Σ u·(f(x + h·v) − f(x − h·v)) / 2h,

so one check costs a handful of evaluations however large x is, and a wrong entry anywhere is
seen with probability one.  When a check fails, single coordinates are tried to say where.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.tensor import Tensor

_PROBES = 64


class GradcheckError(AssertionError):
    """A gradient differs from the finite difference; the message says which, where and how far."""


def gradcheck(
    fn: Callable[..., Tensor],
    *arrays,
    directions: int = 3,
    step: float = 1e-6,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> bool:
    """Check ∂fn/∂arrays[i] for every floating-point input; True, or raises `GradcheckError`.

    fn         takes Tensors, returns one Tensor of any shape; must be smooth at the inputs
    arrays     the inputs, converted to float64; integer and boolean ones are passed on unchecked
    tolerance  allowed error, relative to the size of the gradient; what rounding does to the
               finite difference is allowed on top
    """
    rng = np.random.default_rng(seed)
    values = [np.array(backend.to_numpy(a)) for a in arrays]
    floating = [i for i, v in enumerate(values) if v.dtype.kind == "f"]
    if not floating:
        raise ValueError("gradcheck: none of the inputs is floating point")
    values = [v.astype(np.float64) if i in floating else v for i, v in enumerate(values)]

    tensors = [Tensor(xp.asarray(v), requires_grad=i in floating) for i, v in enumerate(values)]
    output = fn(*tensors)
    if not isinstance(output, Tensor) or output.dtype != np.float64:
        got = output.dtype if isinstance(output, Tensor) else type(output).__name__
        raise GradcheckError(f"fn must keep float64 and return a Tensor; it returned {got}")
    value = backend.to_numpy(output.data)
    if not np.isfinite(value).all():
        raise GradcheckError("fn is infinite or not a number at the inputs; choose others")
    weights = rng.standard_normal(output.shape)
    rounding = 16 * np.finfo(np.float64).eps * np.abs(weights * value).sum() / step
    output.backward(xp.asarray(weights))

    def slope(i: int, direction: np.ndarray) -> float:
        sides = []
        for h in (step, -step):
            moved = [v + h * direction if j == i else v for j, v in enumerate(values)]
            sides.append(backend.to_numpy(fn(*[Tensor(xp.asarray(v)) for v in moved]).data))
        return float(((sides[0] - sides[1]) * weights).sum() / (2 * step))

    for i in floating:
        name = f"input {i} (shape {values[i].shape})"
        if tensors[i].grad is None:
            raise GradcheckError(f"{name} got no gradient: the output does not depend on it")
        gradient = backend.to_numpy(tensors[i].grad)
        if gradient.dtype != np.float64:
            raise GradcheckError(f"{name} is float64, its gradient {gradient.dtype}")
        for _ in range(directions):
            direction = rng.standard_normal(values[i].shape)
            expected, got = slope(i, direction), float((gradient * direction).sum())
            size = max(abs(expected), abs(got), float(np.linalg.norm(gradient * direction)))
            # Written so that NaN fails too, and infinity, which would excuse any error.
            if not (size < np.inf and abs(got - expected) <= tolerance * size + rounding):
                raise GradcheckError(
                    f"{name}: along a random direction the gradient says {got:.9g}, "
                    f"the finite difference {expected:.9g}; {_where(slope, i, gradient, rng)}"
                )
    return True


def _where(slope: Callable, i: int, gradient: np.ndarray, rng: np.random.Generator) -> str:
    """The worst of up to `_PROBES` single coordinates, in words."""
    probes = rng.permutation(gradient.size)[:_PROBES]
    worst = (-1.0, "")
    for flat in probes:
        direction = np.zeros(gradient.shape)
        direction.flat[flat] = 1.0
        expected, got = slope(i, direction), gradient.flat[flat]
        at = tuple(int(k) for k in np.unravel_index(flat, gradient.shape))
        error = abs(got - expected)
        if not error <= worst[0]:
            worst = (error, f"at {at} it is {got:.9g} instead of {expected:.9g}")
    return f"worst of {len(probes)} coordinates tried: {worst[1]}, off by {worst[0]:.3g}"
