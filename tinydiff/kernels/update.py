"""One step of an optimiser on flat arrays: a chain of vector operations, in place.

The chain runs over stretches short enough that all arrays involved stay in the processor's cache
from the first operation to the last, and the stretches are shared out over the workers.  A GPU
has no such cache, and wants few, long launches.
"""

import math
from collections.abc import Callable

import numpy as np

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.kernels.workers import parallel, piece


def _in_stretches(work: Callable, *arrays) -> None:
    """work(*parts) for each stretch of some flat arrays"""
    if backend.name != "numpy":
        return work(*arrays)
    n = len(arrays[0])
    parallel(lambda low, high, _: work(*(a[low:high] for a in arrays)), n, piece(n), n)


def sgd(theta, grad, velocity, *, lr, momentum, nesterov, weight_decay) -> None:
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

    _in_stretches(work, theta, grad, *([] if velocity is None else [velocity]))


def adam(theta, grad, mean, square, *, rate, betas, eps, l2, shrink) -> None:
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

    _in_stretches(work, theta, grad, mean, square)


def move_towards(average, target, fraction) -> None:
    """a ← a + fraction·(target − a)"""

    def work(a, t):
        step = t - a
        step *= fraction
        a += step

    _in_stretches(work, average, target)


def sum_of_squares(a) -> float:
    """Σ a², in float64 where float32 would overflow (from 2e19 on) or lose small squares"""
    totals = []

    def work(part):
        with np.errstate(over="ignore"):
            total = float(xp.dot(part, part))
        if not 1e-30 < total < np.inf:
            total = float(xp.square(part, dtype=np.float64).sum())
        totals.append(total)

    _in_stretches(work, a)
    return math.fsum(totals)
