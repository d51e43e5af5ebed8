"""Rectified flow with any denoiser: from noise to a picture by the velocity of straight lines.

    dx/ds = v(x, s) = ε − x_0 = (x − x_0)/s,      x = (1−s) x_0 + s ε

It is the probability-flow ODE again, in the time of straight lines instead of the angle of `ode`:
x/(1−s) = x_0 + σ ε with σ = s/(1−s), so every network that knows x_0 at each noise level knows the
velocity, whatever it was trained to predict, and guided or not.  At s = 1 there is noise alone and
σ is infinite; steps begin where the schedule ends.

Sources: X. Liu et al., "Flow Straight and Fast: Learning to Generate and Transfer Data with
Rectified Flow", 2023, equation 1; T. Karras et al., "Elucidating the Design Space of
Diffusion-Based Generative Models", 2022, section 2 and appendix B (the ODE in other coordinates).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tinydiff.backend import asarray
from tinydiff.diffusion.flow import sample_flow
from tinydiff.diffusion.parametrisation import check_pictures
from tinydiff.diffusion.samplers.shared import denoiser_in_sigma
from tinydiff.diffusion.schedule import NoiseSchedule


def velocity_along_lines(
    denoise: Callable, schedule: NoiseSchedule, *, clip: bool = True
) -> Callable:
    """velocity(x, s) = (x − x_0)/s as `sample_flow` asks for it; 0 < s < 1."""
    D = denoiser_in_sigma(denoise, schedule, clip)

    def velocity(x, s: float):
        return (x - D(x / (1 - s), s / (1 - s))) / s

    return velocity


def sample_rectified_flow(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int = 10,
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """In equal steps of s, with two evaluations a step (`sample_flow`); nothing is drawn.

    What it yields is x_t as of all samplers: the x above divided by √((1−s)² + s²).
    """
    sigma = float(schedule.sigmas[-1])
    start = sigma / (1 + sigma)
    x_1 = check_pictures(asarray(x_T)) * math.hypot(1 - start, start)
    velocity = velocity_along_lines(denoise, schedule, clip=clip)
    for i, x in enumerate(sample_flow(velocity, x_1, steps=steps, start=start), start=1):
        s = start * (1 - i / steps)
        yield x / math.hypot(1 - s, s)
