"""Attacks on a network whose answers can be seen, and nothing inside: no gradient is asked for.

NES     estimates the gradient by asking around, and goes on as PGD does:

            g ≈ 1/(2σn) Σ_j (L(x + σu_j) − L(x − σu_j)) u_j,   u_j ~ N(0, I)

        Source: A. Ilyas et al., "Black-box adversarial attacks with limited queries and
        information", ICML 2018.

Square  tries at random: a square of the picture goes to x ± ε, and stays so if that helps.  It
        begins with stripes, and its squares become smaller.

        Source: M. Andriushchenko et al., "Square attack: a query-efficient black-box adversarial
        attack via random search", ECCV 2020, the one for L∞.

Both make the margin small by which the right class is ahead, and leave a picture alone as soon as
it fools the network: to know that, they read the answers back after each step.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import backend
from tinydiff.adversarial.ball import project, steepest
from tinydiff.adversarial.network import attacking, checked, is_fooled, logits_of, margin
from tinydiff.backend import randn, to_numpy, xp
from tinydiff.checks import at_least_one, positive
from tinydiff.nn import Module
from tinydiff.tensor import Tensor

AT_ONCE = 256  # pictures that the network is asked about, where few are left
SHRINKS = 10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000  # of 10,000 queries: half the area


def nes(
    model: Module,
    x,
    y,
    *,
    eps: float,
    steps: int = 100,
    step: float | None = None,
    norm: float = math.inf,
    targeted: bool = False,
    samples: int = 25,
    sigma: float = 0.001,
    rng: np.random.Generator | None = None,
):
    """Pictures changed by ``eps`` at most; the arguments are those of `pgd`, and

    samples  n: a step asks the network 2n + 1 times
    sigma    σ, how far it asks around
    """
    x, y = checked(model, x, y, eps, norm)
    at_least_one(steps=steps, samples=samples)
    step = 2.5 * eps / steps if step is None else step
    positive(eps=eps, step=step, sigma=sigma)
    way = 1.0 if targeted else -1.0  # of the margin
    result, left = xp.array(x), np.arange(len(x))
    with attacking(model, x):
        for taken in range(steps + 1):
            fooled = is_fooled(logits_of(model, result[left]), y[left], targeted)
            left = left[~fooled]
            if not len(left) or taken == steps:
                break
            g = _estimated_gradient(model, result[left], y[left], samples, sigma, rng)
            z = result[left] + way * step * steepest(g, norm)
            result[left] = project(z, x[left], eps, norm)
    return result


def _estimated_gradient(model, x, y, samples, sigma, rng):
    """Of the margin of y; up to a factor that no step depends on."""
    g, pairs = xp.zeros_like(x), max(1, AT_ONCE // (2 * len(x)))
    for first in range(0, samples, pairs):
        k = min(pairs, samples - first)
        u = randn((k, *x.shape), rng=rng, dtype=x.dtype)
        around = xp.stack([x + sigma * u, x - sigma * u]).reshape(-1, *x.shape[1:])
        m = _margin(model, around, np.tile(y, 2 * k)).reshape(2, k, len(x), 1, 1, 1)
        g += ((m[0] - m[1]) * u).sum(axis=0)
    return g


def square(
    model: Module,
    x,
    y,
    *,
    eps: float,
    queries: int = 1000,
    targeted: bool = False,
    area: float = 0.8,
    rng: np.random.Generator | None = None,
):
    """Pictures changed by ``eps`` at most in L∞; the arguments are those of `pgd`, and

    queries  how often it asks about each picture, at most
    area     the first squares' share of the picture
    """
    x, y = checked(model, x, y, eps)
    at_least_one(queries=queries)
    positive(eps=eps, area=area)
    if area > 1:
        raise ValueError(f"area is {area}, expected a share of the picture, ≤ 1")
    rng = backend.rng if rng is None else rng
    (n, h, w, c), sign = x.shape, -1.0 if targeted else 1.0
    with attacking(model, x):
        result = project(x + eps * _signs(rng, (n, 1, w, c), x.dtype), x, eps, math.inf)
        best = sign * to_numpy(_margin(model, result, y))
        for asked in range(1, queries):
            left = np.flatnonzero(best >= 0)
            if not len(left):
                break
            some, now = x[left], result[left]
            inside = _squares(rng, len(left), h, w, _side(area, asked / queries, h, w))
            flipped = eps * _signs(rng, (len(left), 1, 1, c), x.dtype)
            tried = xp.where(inside, project(some + flipped, some, eps, math.inf), now)
            ahead = sign * to_numpy(_margin(model, tried, y[left]))
            better = np.flatnonzero(ahead < best[left])
            result[left[better]] = tried[better]
            best[left[better]] = ahead[better]
    return result


def _margin(model, x, y: np.ndarray):
    """An array of the backend, (N,)"""
    return margin(Tensor(logits_of(model, x)), y).data


def _signs(rng, shape, dtype):
    """−1 or 1, as likely."""
    return xp.asarray((2 * rng.integers(0, 2, shape) - 1).astype(dtype))


def _side(area: float, share: float, h: int, w: int) -> int:
    """Of the squares, when a share of all queries has been made"""
    halvings = sum(share * 10_000 > at for at in SHRINKS)
    return min(max(1, round(math.sqrt(area * h * w / 2**halvings))), h, w)


def _squares(rng, n: int, h: int, w: int, side: int):
    """A square in each picture, anywhere: bool (n, h, w, 1)"""
    top, left = (rng.integers(0, length - side + 1, (n, 1)) for length in (h, w))
    rows, columns = (
        (at <= np.arange(length)) & (np.arange(length) < at + side)
        for at, length in ((top, h), (left, w))
    )
    return xp.asarray((rows[:, :, None] & columns[:, None, :])[..., None])
