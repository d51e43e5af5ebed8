"""From noise to a picture: samplers, each a generator that yields x after every step.

A sampler is given denoise(x, t) -> ε, the network's guess of the noise in x (see
`tinydiff.diffusion.denoiser`), the noise x_T to start from, and the schedule the network was
trained with.  The last x it yields is the picture, all of them are a film:

    *_, picture = sample_ddim(denoise, x_T, schedule, steps=50)

x_T is a floating-point array (N, ...), and every x a backend array like it.  ``steps`` visits
that many of the schedule's T moments (`NoiseSchedule.respaced`).  ``clip`` clamps the predicted
x_0 to [−1, 1], the range of pictures, at every step: without it errors add up and colours
saturate.  ``rng`` draws the noise, the process's generator by default.  Arguments that do not fit
raise ValueError or TypeError when the first x is asked for.

Sources: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020, algorithm 2;
J. Song et al., "Denoising Diffusion Implicit Models", 2021, equations 12 and 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tinydiff.backend import asarray, randn, xp
from tinydiff.diffusion.gaussian import GaussianDiffusion, check_pictures
from tinydiff.diffusion.schedule import NoiseSchedule


def sample_ddpm(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int | None = None,
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Algorithm 2: draw x_{t−1} from q(x_{t−1} | x_t, x_0) with the x_0 that ε implies.

        x_{t−1} = μ̃_t(x_0, x_t) + √β̃_t z,    z ~ N(0, I)

    All T steps unless told otherwise.  The last adds no noise: β̃_0 = 0.
    """
    diffusion = GaussianDiffusion(schedule if steps is None else schedule.respaced(steps))
    x = check_pictures(asarray(x_T))
    for i in reversed(range(diffusion.schedule.T)):
        t = np.full(len(x), i)
        x0 = diffusion.predict_x0(x, t, denoise(x, diffusion.schedule.timesteps[t]))
        if clip:
            x0 = xp.clip(x0, -1, 1)
        mean, variance, _ = diffusion.q_posterior(x0, x, t)
        x = mean + xp.sqrt(variance) * randn(x.shape, rng=rng, dtype=x.dtype)
        yield x


def sample_ddim(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int = 50,
    eta: float = 0.0,
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """DDIM: down to the x_0 that ε implies, then back up to the noise level of x_{t−1}.

        x_{t−1} = √ᾱ_{t−1} x_0 + √(1−ᾱ_{t−1}−σ²) ε + σ z,    σ = η √β̃_t,    z ~ N(0, I)

    With eta = 0 x_T alone decides the picture; eta = 1 is DDPM.  A clamped x_0 takes ε with it:
    the two always make up x_t.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta: expected a number in [0, 1], got {eta}")
    schedule = schedule.respaced(steps)
    diffusion = GaussianDiffusion(schedule)
    x = check_pictures(asarray(x_T))
    for i in reversed(range(schedule.T)):
        t = np.full(len(x), i)
        eps = denoise(x, schedule.timesteps[t])
        x0 = diffusion.predict_x0(x, t, eps)
        if clip:
            x0 = xp.clip(x0, -1, 1)
            eps = diffusion.predict_eps(x, t, x0)
        signal = float(schedule.alphas_cumprod_prev[i])
        sigma = float(eta) * math.sqrt(schedule.posterior_variance[i])
        x = math.sqrt(signal) * x0 + math.sqrt(1 - signal - sigma**2) * eps
        if sigma > 0:
            x = x + sigma * randn(x.shape, rng=rng, dtype=x.dtype)
        yield x
