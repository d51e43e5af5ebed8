"""One step of an optimiser on flat arrays: a chain of vector operations, in place.

The chain runs over stretches short enough that all arrays involved stay in the processor's cache
from the first operation to the last, and the stretches are shared out over the workers.  On CuPy
this is the plain form of `tinydiff.kernels.cuda.update`.

``unless`` is for a device that nobody has asked yet whether all is well: where it is given and not
0, nothing is changed.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.kernels.workers import parallel, piece


def _in_stretches(work: Callable, *arrays, unless=None) -> None:
    """work(*parts) for each stretch of some flat arrays"""
    if unless is not None and int(unless):
        return None
    if backend.name != "numpy":
        return work(*arrays)
    n = len(arrays[0])
    parallel(lambda low, high, _: work(*(a[low:high] for a in arrays)), n, piece(n), n)


def sgd(theta, grad, velocity, *, lr, momentum, nesterov, weight_decay, unless=None) -> None:
    """g' = g + λθ;  u ← μu + g';  θ ← θ − lr·u, or with Nesterov θ − lr·(g' + μu)

    velocity u is None where momentum μ is 0.
    """

    def work(t, g, u=None):
        step = xp.empty_like(t)
        if weight_decay:
            g = t * weight_decay + g
        if u is None:
            u = g
        else:
            u *= momentum
            u += g
        if nesterov:
            xp.multiply(u, momentum, out=step)
            step += g
            step *= lr
        else:
            xp.multiply(u, lr, out=step)
        t -= step

    _in_stretches(work, theta, grad, *([] if velocity is None else [velocity]), unless=unless)


def adam(theta, grad, mean, square, *, rate, betas, eps, l2, shrink, unless=None) -> None:
    """g' = g + l2·θ;  m ← β₁m + (1−β₁)g';  v ← β₂v + (1−β₂)g'²

    θ ← shrink·θ − rate·m / (√v + eps)
    """
    beta1, beta2 = betas

    def work(t, g, m, v):
        if l2:
            g = t * l2 + g
        b = g * (1 - beta1)
        m *= beta1
        m += b
        xp.multiply(g, g, out=b)
        b *= 1 - beta2
        v *= beta2
        v += b
        xp.sqrt(v, out=b)
        b += eps
        xp.divide(m, b, out=b)
        b *= rate
        if shrink != 1:
            t *= shrink
        t -= b

    _in_stretches(work, theta, grad, mean, square, unless=unless)


def move_towards(average, target, fraction, unless=None) -> None:
    """a ← a + fraction·(target − a)"""

    def work(a, t):
        step = t - a
        step *= fraction
        a += step

    _in_stretches(work, average, target, unless=unless)


def norm(arrays: Sequence) -> float:
    """√Σ a² over all arrays, in float64 where float32 would overflow or lose small squares

    On a GPU it is a 0-d array, which nobody has to wait for.
    """
    return math.sqrt(sum(_sum_of_squares(a) for a in arrays))


def shrink(arrays: Sequence, norm: float, max_norm: float) -> None:
    """a ← a·max_norm/norm, where that makes the arrays' norm smaller and the norm is finite"""
    if max_norm < norm < math.inf:
        for a in arrays:
            a *= max_norm / float(norm)


def _sum_of_squares(a) -> float:
    # float32 overflows from 2e19 on.
    totals = []

    def work(part):
        with np.errstate(over="ignore"):
            total = float(xp.dot(part, part))
        if not 1e-30 < total < np.inf:
            total = float(xp.square(part, dtype=np.float64).sum())
        totals.append(total)

    _in_stretches(work, a)
    return math.fsum(totals)


class Finite:
    """Notes the first number of a training that is not finite.

    stop   what the steps above take as ``unless``; here there is nothing left to ask a device
    every  so many steps may be taken before `found` is asked
    """

    stop, every = None, 1

    def __init__(self):
        self._first = None

    def look(self, value, what: int, step: int) -> None:
        """Note a 0-d array or number if it is the first: its step, what it is, and its value."""
        if self._first is None and not math.isfinite(value):
            self._first = step, what, float(value)

    def found(self) -> tuple[int, int, float] | None:
        """What was noted"""
        return self._first
