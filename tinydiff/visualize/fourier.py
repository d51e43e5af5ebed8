"""The Fourier parametrisation: a picture is a sum of waves, and it is their heights that learn.

    x = F_h (s ∘ z) F_wᵀ,   s = 1/max(f, 1/side)^p      F: waves, orthonormal, f: their frequencies

The coarse waves have the larger s, so a step moves them further: the picture forms from coarse to
fine, and has the falling spectrum of pictures instead of noise.  As x is linear in z, ascent in z
is ascent in x along another direction, and no other loop is needed:

    z + η ∂a/∂z   is, in x,   x + η F_h (s² ∘ F_hᵀ (∂a/∂x) F_w) F_wᵀ

Source: C. Olah et al., "Feature Visualization", Distill, 2017 ("Preconditioning and
Parameterization").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tinydiff.backend import xp
from tinydiff.ops.resample import both_axes


def fourier(power: float = 1.0) -> Callable:
    """A function of gradients (N, H, W, C): the direction that a step in the waves has in pixels.

    power  p: 0 changes nothing, 1 is the spectrum of photographs
    """
    if not 0 <= power < np.inf:
        raise ValueError(f"power is {power}, expected a number ≥ 0")

    def direction(g):
        (rows, columns), scale = _matrices(*g.shape[1:3], power, g.dtype)
        heights = both_axes(g, rows.T, columns.T) * scale[..., None] ** 2
        return both_axes(heights, rows, columns)

    return direction


def waves(n: int) -> tuple[np.ndarray, np.ndarray]:
    """F (n, n), a wave in each column, and how often each of them goes up and down in n pixels."""
    frequency = (np.arange(n) + 1) // 2
    angle = 2 * np.pi * np.outer(np.arange(n), frequency) / n
    basis = np.where(np.arange(n) % 2, np.cos(angle), np.sin(angle))
    basis[:, 0] = 1  # the sine of frequency 0 is none
    return basis / np.linalg.norm(basis, axis=0), frequency


def wave_scales(height: int, width: int, power: float) -> np.ndarray:
    """s, (height, width), for frequencies f in waves per pixel."""
    frequency = np.hypot(waves(height)[1][:, None] / height, waves(width)[1] / width)
    return 1 / np.maximum(frequency, 1 / max(height, width)) ** power


@lru_cache(maxsize=8)
def _matrices(height: int, width: int, power: float, dtype) -> tuple:
    bases = [xp.asarray(waves(n)[0], dtype) for n in (height, width)]
    return bases, xp.asarray(wave_scales(height, width, power), dtype)
