"""Predictor–corrector: after every step down, Langevin steps that stay at the new noise level.

    x ← x + e s + √(2e) z,     s = −ε/√(1−ᾱ_t),    e = 2 α_t (r ‖z‖/‖s‖)²,    z ~ N(0, I)

The score s = ∇ log q_t(x) pulls x to where it is likely, the noise shakes it, and together they
turn whatever the step down has left into a sample of q_t.

Source: Y. Song et al., "Score-Based Generative Modeling through Stochastic Differential
Equations", 2021, algorithms 3 and 5, with ancestral sampling (appendix F) as the predictor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinydiff.backend import asarray, randn, xp
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.diffusion.parametrisation import check_pictures
from tinydiff.diffusion.samplers.ddpm import ancestral_step
from tinydiff.diffusion.samplers.shared import clamped
from tinydiff.diffusion.schedule import NoiseSchedule


def sample_predictor_corrector(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int = 25,
    corrections: int = 1,
    r: float = 0.16,
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Each of the steps is one of DDPM and ``corrections`` of Langevin; the last is DDPM's alone.

    r  how large a correction is: the ratio of its pull to its noise

    Raises ValueError for r ≤ 0, corrections < 0, or steps outside 1 … T.
    """
    if isinstance(corrections, bool) or not isinstance(corrections, int) or corrections < 0:
        raise ValueError(f"corrections: expected an integer ≥ 0, got {corrections!r}")
    if not r > 0:
        raise ValueError(f"r: expected a number > 0, got {r}")
    diffusion = GaussianDiffusion(schedule.respaced(steps))
    x = check_pictures(asarray(x_T))
    for i in reversed(range(diffusion.schedule.T)):
        x = ancestral_step(denoise, diffusion, x, i, clip=clip, rng=rng)
        for _ in range(corrections if i else 0):
            x = langevin_step(denoise, diffusion, x, i - 1, r=r, clip=clip, rng=rng)
        yield x


def langevin_step(denoise, diffusion: GaussianDiffusion, x, i: int, *, r, clip, rng):
    """The formula above at step i of ``diffusion.schedule``; x keeps its noise level.

    The norms are means over the batch, as in the paper, where one picture alone may by chance
    have hardly any score.
    """
    schedule, t = diffusion.schedule, np.full(len(x), i)
    eps = denoise(x, schedule.timesteps[t])
    if clip:
        eps = diffusion.predict_eps(x, t, clamped(diffusion.predict_x0(x, t, eps), clip))
    score = eps / -float(schedule.sqrt_one_minus_alphas_cumprod[i])
    z = randn(x.shape, rng=rng, dtype=x.dtype)
    step = 2 * float(schedule.alphas[i]) * (r * mean_norm(z) / mean_norm(score)) ** 2
    return x + step * score + xp.sqrt(2 * step) * z


def mean_norm(x):
    """‖x‖ of a picture, averaged over a batch (N, ...); it stays on the device."""
    return xp.sqrt((x**2).sum(axis=tuple(range(1, x.ndim)))).mean()
