"""One step of an optimiser on flat arrays: a chain of vector operations, in place.

The chain runs over stretches short enough that all arrays involved stay in the processor's cache
from the first operation to the last.  A GPU has no such cache, and wants few, long launches.
"""

from collections.abc import Iterator

from tinydiff import backend
from tinydiff.backend import xp

CHUNK = 1 << 16 if backend.name == "numpy" else 1 << 26


def chunks(*arrays) -> Iterator[tuple]:
    """The same stretch of each of some flat arrays, one after the other."""
    for start in range(0, len(arrays[0]), CHUNK):
        yield tuple(a[start : start + CHUNK] for a in arrays)


def sgd(theta, grad, velocity, *, lr, momentum, nesterov, weight_decay) -> None:
    """g' = g + λθ;  u ← μu + g';  θ ← θ − lr·u, or with Nesterov θ − lr·(g' + μu)

    velocity u is None where momentum μ is 0.
    """
    spare = xp.empty((2, min(CHUNK, len(theta))), theta.dtype)
    for t, g, u in chunks(theta, grad, grad if velocity is None else velocity):
        a, step = spare[0, : len(t)], spare[1, : len(t)]
        if weight_decay:
            xp.multiply(t, weight_decay, out=a)
            a += g
            g = a
        if velocity is None:
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


def adam(theta, grad, mean, square, *, rate, betas, eps, l2, shrink) -> None:
    """g' = g + l2·θ;  m ← β₁m + (1−β₁)g';  v ← β₂v + (1−β₂)g'²

    θ ← shrink·θ − rate·m / (√v + eps)
    """
    beta1, beta2 = betas
    spare = xp.empty((2, min(CHUNK, len(theta))), theta.dtype)
    for t, g, m, v in chunks(theta, grad, mean, square):
        a, b = spare[0, : len(t)], spare[1, : len(t)]
        if l2:
            xp.multiply(t, l2, out=a)
            a += g
            g = a
        xp.multiply(g, 1 - beta1, out=b)
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


def move_towards(average, target, fraction) -> None:
    """a ← a + fraction·(target − a)"""
    spare = xp.empty(min(CHUNK, len(average)), average.dtype)
    for a, t in chunks(average, target):
        step = spare[: len(a)]
        xp.subtract(t, a, out=step)
        step *= fraction
        a += step


def sum_of_squares(a) -> float:
    """Σ a², added up in float64: float32 squares overflow from 2e19 on."""
    total = 0.0
    for (piece,) in chunks(a):
        squares = piece.astype(xp.float64)
        squares *= squares
        total += float(squares.sum())
    return total
