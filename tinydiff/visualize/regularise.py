"""What a picture should be like, said by a change after each step of gradient ascent.

    decay          x ← g + (1 − λ)(x − g)                    g: the ground
    blur           x ← K x Kᵀ,  K_ij ∝ exp(−(i − j)²/2σ²)     rows that sum to 1, at the border too
    drop_small     x ← g where ‖x − g‖ over the colours is below a percentile of the picture
    clip           x ← min(max(x, −1), 1)
    every          only in each k-th step

A Regulariser is a function (x, k) → x of pictures (N, H, W, C), arrays of the backend, and the
number of the step, from 1.

Source: J. Yosinski et al., "Understanding Neural Networks Through Deep Visualization", 2015,
section 3 and table 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinydiff.backend import xp
from tinydiff.checks import at_least_one, positive
from tinydiff.ops.resample import both_axes

Regulariser = Callable


def decay(share: float, *, ground: float = 0.0) -> Regulariser:
    """Draws every pixel towards the ground, by this share of the way: what need not be, goes."""
    if not 0 < share < 1:
        raise ValueError(f"share is {share}, expected 0 < share < 1")
    return lambda x, k: ground + (1 - share) * (x - ground)


def blur(sigma: float) -> Regulariser:
    """A Gaussian blur, sigma in pixels: fine patterns go."""
    positive(sigma=sigma)

    def blurred(x, k):
        return both_axes(x, *(xp.asarray(_gaussian(n, sigma), x.dtype) for n in x.shape[1:3]))

    return blurred


def drop_small(percentile: float, *, ground: float = 0.0) -> Regulariser:
    """Puts the pixels that hardly differ from the ground there: only what matters is left."""
    if not 0 < percentile < 100:
        raise ValueError(f"percentile is {percentile}, expected 0 < percentile < 100")

    def dropped(x, k):
        size = xp.sqrt(((x - ground) ** 2).sum(axis=3, keepdims=True))
        ranked = xp.sort(size.reshape(len(x), -1), axis=1)
        least = ranked[:, int(percentile / 100 * ranked.shape[1])].reshape(-1, 1, 1, 1)
        return xp.where(size < least, xp.asarray(ground, x.dtype), x)

    return dropped


def clip(x, k):
    """Into the range of pictures, [−1, 1]."""
    return xp.clip(x, -1, 1)


def every(steps: int, regulariser: Regulariser) -> Regulariser:
    """The regulariser in steps k, 2k, 3k …"""
    at_least_one(steps=steps)
    return lambda x, k: x if k % steps else regulariser(x, k)


def _gaussian(n: int, sigma: float) -> np.ndarray:
    place = np.arange(n)
    kernel = np.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    return kernel / kernel.sum(axis=1, keepdims=True)
