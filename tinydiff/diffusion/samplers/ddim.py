"""DDIM: down to the x_0 that ε implies, then back up to the noise level of x_{t−1}.

    x_{t−1} = √ᾱ_{t−1} x_0 + √(1−ᾱ_{t−1}−σ²) ε + σ z,    σ = η √β̃_t,    z ~ N(0, I)

With η = 0 nothing is drawn: x_T alone decides the picture, and the way can be walked back, from a
picture to its x_T.

Source: J. Song et al., "Denoising Diffusion Implicit Models", 2021, equations 12 and 16, and
section 4.3 (the way back).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tinydiff.backend import asarray, randn
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.diffusion.parametrisation import check_pictures
from tinydiff.diffusion.samplers.shared import clamped
from tinydiff.diffusion.schedule import NoiseSchedule


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
    """With eta = 0 x_T alone decides the picture; eta = 1 is DDPM with its smaller variance.

    A clamped x_0 takes ε with it: the two always make up x_t.  Raises ValueError unless eta lies
    in [0, 1] and steps in 1 … T.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta: expected a number in [0, 1], got {eta}")
    schedule = schedule.respaced(steps)
    diffusion = GaussianDiffusion(schedule)
    x = check_pictures(asarray(x_T))
    for i in reversed(range(schedule.T)):
        t = np.full(len(x), i)
        eps = denoise(x, schedule.timesteps[t])
        x0 = clamped(diffusion.predict_x0(x, t, eps), clip)
        if clip:
            eps = diffusion.predict_eps(x, t, x0)
        signal = float(schedule.alphas_cumprod_prev[i])
        sigma = float(eta) * math.sqrt(schedule.posterior_variance[i])
        x = math.sqrt(signal) * x0 + math.sqrt(1 - signal - sigma**2) * eps
        if sigma > 0:
            x = x + sigma * randn(x.shape, rng=rng, dtype=x.dtype)
        yield x


def invert_ddim(denoise: Callable, x0, schedule: NoiseSchedule, *, steps: int = 50) -> Iterator:
    """From pictures x0 to the noise that `sample_ddim` in as many steps makes them of.

        x_t = √ᾱ_t (x_{t−1} − √(1−ᾱ_{t−1}) ε)/√ᾱ_{t−1} + √(1−ᾱ_t) ε,    ε = ε(x_{t−1}, t)

    Yields x after every step, the last being x_T.  It is DDIM's step solved for x_t, but that ε
    is asked for at x_{t−1}, since x_t is not known yet: the more steps, the better the way back.
    Nothing is clamped.  Raises ValueError unless steps lies in 1 … T.
    """
    schedule = schedule.respaced(steps)
    x = check_pictures(asarray(x0))
    for i in range(schedule.T):
        eps = denoise(x, np.full(len(x), schedule.timesteps[i]))
        check_pictures(x, eps=eps)
        before, after = float(schedule.alphas_cumprod_prev[i]), float(schedule.alphas_cumprod[i])
        clean = (x - math.sqrt(1 - before) * eps) / math.sqrt(before)
        x = math.sqrt(after) * clean + math.sqrt(1 - after) * eps
        yield x
