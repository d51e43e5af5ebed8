"""Euler's and Heun's method in EDM's variables, with noise added on the way if wanted.

    dy/dσ = (y − D(y, σ))/σ            y = x_0 + σ ε, so that the right-hand side is ε

Euler goes along the slope at the start of a step, Heun along the mean of that and the slope at
its end: an evaluation more, and an error that falls with the square of the number of steps.

Source: T. Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models"
(EDM), 2022, algorithms 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tinydiff.backend import randn
from tinydiff.diffusion.samplers.shared import begin, denoiser_in_sigma, karras
from tinydiff.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Churn:
    """Before a step from σ noise is added, up to σ̂ = (1+γ)σ: what went wrong before is forgotten.

    γ = min(S_churn/steps, √2−1) where S_tmin ≤ σ ≤ S_tmax, else 0.  S_noise is the deviation of
    the noise, a little above 1 for networks that remove a little too much.
    """

    S_churn: float = 0.0
    S_tmin: float = 0.0
    S_tmax: float = math.inf
    S_noise: float = 1.0

    def __post_init__(self):
        for name in ("S_churn", "S_tmin", "S_tmax", "S_noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected a number ≥ 0, got {getattr(self, name)}")

    def __call__(self, y, sigma: float, steps: int, rng: np.random.Generator | None):
        """(y with more noise, σ̂)"""
        gamma = min(self.S_churn / steps, math.sqrt(2) - 1)
        if gamma == 0 or not self.S_tmin <= sigma <= self.S_tmax:
            return y, sigma
        raised = (1 + gamma) * sigma
        z = randn(y.shape, rng=rng, dtype=y.dtype)
        return y + self.S_noise * math.sqrt(raised**2 - sigma**2) * z, raised


NO_CHURN = Churn()


def sample_euler(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int = 50,
    levels: Callable = karras,
    churn: Churn = NO_CHURN,
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Euler's method: one evaluation a step.  levels(schedule, steps) says where steps begin."""
    D = denoiser_in_sigma(denoise, schedule, clip)
    sigmas, y = begin(x_T, schedule, levels, steps)
    for sigma, after in pairwise(sigmas):
        y, sigma = churn(y, sigma, steps, rng)
        slope = (y - D(y, sigma)) / sigma
        y = y + (after - sigma) * slope
        yield y / math.hypot(1, after)


def sample_heun(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int = 18,
    levels: Callable = karras,
    churn: Churn = NO_CHURN,
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Heun's method: two evaluations a step, but one in the last, which ends where σ = 0.

    It wants small steps: where σ' ≪ σ, an error of x_0 at the end of a step is magnified by σ/2σ',
    and in fewer than 8 steps pictures stay noisy.
    """
    D = denoiser_in_sigma(denoise, schedule, clip)
    sigmas, y = begin(x_T, schedule, levels, steps)
    for sigma, after in pairwise(sigmas):
        y, sigma = churn(y, sigma, steps, rng)
        slope = (y - D(y, sigma)) / sigma
        ahead = y + (after - sigma) * slope
        if after > 0:
            slope = (slope + (ahead - D(ahead, after)) / after) / 2
        y = y + (after - sigma) * slope
        yield y / math.hypot(1, after)
