"""The probability-flow ODE: noise turns into a picture, in steps of equal angle.

    dx/dφ = v(x, φ) = ε cos φ − x_0 sin φ,      x = x_0 cos φ + ε sin φ,      tan φ = σ

φ is the angle between picture and noise, π/2 for pure noise and 0 for the picture, and v is the
velocity of v-prediction.  If x_0 and ε stayed as they are, x would move on a circle: so it is
turned by half a step, asked for v there, in the middle, and moved along the chord of the whole:

    x_middle = x cos ½h + v(x, φ) sin ½h,      x' = x + 2 sin ½h v(x_middle, φ + ½h)

It is the midpoint method, of second order, but exact for any length h of a step on a circle.

Sources: Y. Song et al., "Score-Based Generative Modeling through Stochastic Differential
Equations", 2021, section 4.3; T. Salimans and J. Ho, "Progressive Distillation for Fast Sampling
of Diffusion Models", 2022, appendix D (the angle, and DDIM as a rotation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from tinydiff.backend import asarray
from tinydiff.diffusion.parametrisation import check_pictures
from tinydiff.diffusion.samplers.shared import denoiser_in_sigma
from tinydiff.diffusion.schedule import NoiseSchedule, positive_int


def velocity_in_angle(denoise: Callable, schedule: NoiseSchedule, *, clip: bool = True) -> Callable:
    """velocity(x, φ) = (x cos φ − x_0)/sin φ, the right-hand side of the ODE; 0 < φ < π/2."""
    D = denoiser_in_sigma(denoise, schedule, clip)

    def velocity(x, angle: float):
        x0 = D(x / math.cos(angle), math.tan(angle))
        return (x * math.cos(angle) - x0) / math.sin(angle)

    return velocity


def sample_ode(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int = 10,
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """From the schedule's last step to φ = 0, with two evaluations a step; nothing is drawn."""
    velocity = velocity_in_angle(denoise, schedule, clip=clip)
    start = math.atan(schedule.sigmas[-1])
    x = check_pictures(asarray(x_T))
    angles = np.linspace(start, 0, positive_int("steps", steps) + 1).tolist()
    for angle, after in pairwise(angles):
        half = (after - angle) / 2
        middle = math.cos(half) * x + math.sin(half) * velocity(x, angle)
        x = x + 2 * math.sin(half) * velocity(middle, angle + half)
        yield x
