"""The ε-ball around a picture, in L∞ or L2: how far, which way, how to begin and how to stay in.

    L∞:  ‖d‖ = max |dᵢ|    steepest step  sign g
    L2:  ‖d‖ = √Σ dᵢ²      steepest step  g/‖g‖₂

A norm is written as in `numpy.linalg.norm`: ``math.inf`` or 2.  It is taken of each picture of a
batch (N, H, W, C).

Source: A. Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018,
section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydiff.backend import rand, randn, xp

NORMS = (math.inf, 2)
_LEAST = 1e-12  # divides where a gradient is zero: there is no way up, and no step is taken


def length(d, norm: float):
    """‖d‖ of each picture: (N, H, W, C) → (N, 1, 1, 1)"""
    if norm == 2:
        return xp.sqrt(xp.square(d).sum(axis=(1, 2, 3), keepdims=True))
    return xp.abs(d).max(axis=(1, 2, 3), keepdims=True)


def steepest(g, norm: float):
    """The step of length 1 on which g·d grows most."""
    return g / xp.maximum(length(g, 2), _LEAST) if norm == 2 else xp.sign(g)


def shrink(d, eps: float, norm: float):
    """d, or where that is longer than ``eps`` the nearest that is not."""
    if norm == 2:
        return d * xp.minimum(1, eps / xp.maximum(length(d, 2), _LEAST))
    return xp.clip(d, -eps, eps)


def rounded(z, towards):
    """z in the dtype of ``towards``, what that cannot hold rounded towards it.

    And not to the nearest, which may be farther away: so what is inside a ball stays there.
    """
    nearest = z.astype(towards.dtype)
    too_far = xp.abs(nearest.astype(z.dtype) - towards) > xp.abs(z - towards)
    return xp.where(too_far, xp.nextafter(nearest, towards), nearest)


def moved(x, d):
    """x + d, brought into [0, 1] and rounded towards the pictures x."""
    return rounded(xp.clip(x + d.astype(np.float64), 0, 1), x)


def project(z, x, eps: float, norm: float):
    """z, brought into the ball around the pictures x and into [0, 1]: exactly, in x's dtype."""
    return moved(x, shrink(z.astype(np.float64) - x, eps, norm))


def projection(x, eps: float, norm: float) -> Callable:
    """`project` for many z and one ball: a function of z

    In L∞, each pixel has two ends that it may not go beyond; they are worked out once.
    """
    if norm == 2:
        return lambda z: project(z, x, eps, norm)
    far = xp.full_like(x, eps, dtype=np.float64)
    low, high = moved(x, -far), moved(x, far)
    return lambda z: xp.clip(z, low, high)


def drawn_within(x, eps: float, norm: float, rng: np.random.Generator | None = None):
    """A point drawn evenly from the ball around each picture, brought into [0, 1]."""
    if norm == 2:
        # A direction, and as large a share of the radius as leaves equal volumes equally likely.
        share = rand((len(x), 1, 1, 1), rng=rng, dtype=np.float64) ** (1 / x[0].size)
        direction = steepest(randn(x.shape, rng=rng, dtype=np.float64), 2)
    else:
        share, direction = 1.0, 2 * rand(x.shape, rng=rng, dtype=np.float64) - 1
    return moved(x, eps * share * direction)
