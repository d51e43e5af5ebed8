"""What samplers share: clamping, and noise levels σ between the schedule's steps.

Divided by √ᾱ, a noisy picture is the clean one plus noise, and the noise level is all there is:

    y = x_t/√ᾱ_t = x_0 + σ ε,    σ = √(1−ᾱ_t)/√ᾱ_t,    x_t = y/√(1+σ²)

In y and σ one formula serves every schedule, a step may end at any level, and the denoiser is
asked at the moment t, mostly between two steps, at which the schedule has that level.

Source: T. Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models"
(EDM), 2022, sections 2 and 3, equation 5; σ ≤ 80 is from table 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydiff.backend import asarray, xp
from tinydiff.diffusion.parametrisation import check_pictures
from tinydiff.diffusion.schedule import NoiseSchedule, positive_int

SIGMA_MAX = 80.0


def clamped(x0, clip: bool):
    """x0 clamped to [−1, 1], the range of pictures, if ``clip``."""
    return xp.clip(x0, -1, 1) if clip else x0


def denoiser_in_sigma(denoise: Callable, schedule: NoiseSchedule, clip: bool) -> Callable:
    """D(y, sigma) -> x_0, the denoiser as EDM writes it; sigma is a number.

    Beyond the schedule's levels it is asked at the nearest that the schedule has.  So below σ_0,
    the first of them, x_0 is off by up to a share of σ_0², which no number of steps takes away.

    Raises ValueError for a schedule that was respaced: what the network knows of noise levels
    between two steps is to be had from the schedule it was trained with.
    """
    if not np.array_equal(schedule.timesteps, np.arange(schedule.T)):
        raise ValueError(
            "schedule: expected the one the network was trained with, got a respaced one "
            f"of {schedule.T} steps; `steps` says how many to take"
        )
    low, high = float(schedule.sigmas[0]), float(schedule.sigmas[-1])

    def D(y, sigma: float):
        sigma = min(max(sigma, low), high)
        x = y / math.hypot(1, sigma)
        eps = denoise(x, np.full(len(x), schedule.moment_of(sigma)))
        check_pictures(x, eps=eps)
        return clamped(y - sigma * eps, clip)

    return D


def begin(x_T, schedule: NoiseSchedule, levels: Callable, steps: int) -> tuple:
    """(noise levels σ_0 > … ≥ 0, where the steps begin and end; y at the first of them)

    levels  levels(schedule, steps) -> steps + 1 numbers, such as `karras`

    Raises ValueError if they are others, TypeError unless x_T is floating-point.
    """
    sigmas = [float(sigma) for sigma in levels(schedule, positive_int("steps", steps))]
    if not (len(sigmas) == steps + 1 and np.all(np.diff(sigmas) < 0) and sigmas[-1] >= 0):
        raise ValueError(
            f"levels: expected steps + 1 = {steps + 1} falling numbers ≥ 0, got {sigmas}"
        )
    return sigmas, check_pictures(asarray(x_T)) * math.hypot(1, sigmas[0])


def karras(schedule: NoiseSchedule, steps: int, rho: float = 7.0) -> list[float]:
    """σ_0 > σ_1 > … > σ_steps = 0, most of them where there is little noise.

    σ_i = (σ_max^{1/ρ} + i/(steps−1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ
    """
    first, last = _ends(schedule)
    roots = np.linspace(first ** (1 / rho), last ** (1 / rho), steps)
    return [*(roots**rho).tolist(), 0.0]


def even_log_snr(schedule: NoiseSchedule, steps: int) -> list[float]:
    """As `karras`, but in equal strides of ln σ, which is −½ ln snr."""
    return [*np.geomspace(*_ends(schedule), steps).tolist(), 0.0]


def _ends(schedule: NoiseSchedule) -> tuple[float, float]:
    return min(schedule.sigmas[-1], SIGMA_MAX), schedule.sigmas[0]
