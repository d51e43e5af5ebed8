"""DDPM: every step draws x_{t−1} from the Gaussian that the predicted x_0 leaves.

    x_{t−1} = μ̃_t(x_0, x_t) + σ_t z,    log σ_t² = v log β_t + (1−v) log β̃_t,    z ~ N(0, I)

v = 0 (β̃_t) is right for data that are one point, v = 1 (β_t) for data that are pure noise; what
is right for pictures lies in between, and a network can learn it, pixel by pixel.

Sources: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020, algorithm 2 and section
3.2; A. Nichol and P. Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021,
equation 15 (learned variance) and section 4 (fewer steps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinydiff.backend import asarray, randn, xp
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.diffusion.learned_variance import interpolated_log_variance
from tinydiff.diffusion.parametrisation import check_pictures
from tinydiff.diffusion.samplers.shared import clamped
from tinydiff.diffusion.schedule import NoiseSchedule

FIXED = {"small": 0.0, "large": 1.0}


def sample_ddpm(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int | None = None,
    variance: str = "small",
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Algorithm 2, in all T steps unless told otherwise; the last adds no noise.

    variance  "small": β̃_t, "large": β_t, or "learned": ``denoise.with_variance(x, t)`` is asked
              for the pair (ε, v), both of x's shape, v in [0, 1]

    Raises ValueError for another variance, for steps outside 1 … T, and TypeError if the variance
    is to be learned and the denoiser has not learned it.
    """
    diffusion = GaussianDiffusion(schedule if steps is None else schedule.respaced(steps))
    x = check_pictures(asarray(x_T))
    for i in reversed(range(diffusion.schedule.T)):
        x = ancestral_step(denoise, diffusion, x, i, variance=variance, clip=clip, rng=rng)
        yield x


def ancestral_step(
    denoise: Callable,
    diffusion: GaussianDiffusion,
    x,
    i: int,
    *,
    variance="small",
    clip=True,
    rng=None,
):
    """x_{t−1} from x_t, where t is step i of ``diffusion.schedule``; settings as above."""
    schedule, t = diffusion.schedule, np.full(len(x), i)
    if variance == "learned":
        if not hasattr(denoise, "with_variance"):
            raise TypeError("variance is 'learned', but the denoiser has no with_variance(x, t)")
        eps, v = denoise.with_variance(x, schedule.timesteps[t])
    elif variance in FIXED:
        eps = denoise(x, schedule.timesteps[t])
        v = xp.full((1,) * x.ndim, FIXED[variance], x.dtype)
    else:
        raise ValueError(f"variance: expected 'small', 'large' or 'learned', got {variance!r}")
    x0 = clamped(diffusion.predict_x0(x, t, eps), clip)
    mean, _, _ = diffusion.q_posterior(x0, x, t)
    if i == 0:
        return mean
    log_variance = interpolated_log_variance(schedule, t[:1], v)
    return mean + xp.exp(log_variance / 2) * randn(x.shape, rng=rng, dtype=x.dtype)
