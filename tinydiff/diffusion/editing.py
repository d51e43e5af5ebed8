"""Editing pictures with a denoiser that was never trained for it: begin, or stay, with a picture.

All functions take pictures x0 (N, ...) in [−1, 1], the denoiser and its schedule, and are
generators like the samplers they are made of.  A sampler that is to begin with x_t instead of pure
noise is given `NoiseSchedule.until` (t).

Sources: C. Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential
Equations", 2022, algorithm 1; A. Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion
Probabilistic Models", 2022, algorithm 1 and appendix B (jumps); J. Song et al., "Denoising
Diffusion Implicit Models", 2021, sections 4.3 (inversion) and 5.3 (interpolation).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tinydiff.backend import asarray, randn, xp
from tinydiff.diffusion.gaussian import GaussianDiffusion, check_pictures
from tinydiff.diffusion.samplers import invert_ddim, sample_ddim, sample_ddpm
from tinydiff.diffusion.samplers.ddpm import ancestral_step
from tinydiff.diffusion.schedule import NoiseSchedule, positive_int


def sdedit(
    denoise: Callable,
    x0,
    schedule: NoiseSchedule,
    *,
    strength: float,
    steps: int = 50,
    sampler: Callable = sample_ddpm,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """SDEdit: noise x0 up to step t = strength · T, and let a sampler find its way back.

    What is larger than the noise of step t stays, what is finer is drawn anew: a sketch becomes a
    picture, a picture a variation of itself.  strength in (0, 1]: 1 forgets x0, 0 would keep it.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength: expected a number in (0, 1], got {strength}")
    x0 = check_range("x0", x0)
    part = schedule.until(math.ceil(strength * schedule.T) - 1)
    t = np.full(len(x0), part.T - 1)
    x_t = GaussianDiffusion(part).q_sample(x0, t, randn(x0.shape, rng=rng, dtype=x0.dtype))
    return sampler(denoise, x_t, part, steps=min(steps, part.T), rng=rng)


def inpaint(
    denoise: Callable,
    x0,
    known,
    schedule: NoiseSchedule,
    *,
    steps: int = 50,
    jump: int = 1,
    resamplings: int = 1,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """RePaint: sample by DDPM, with the known pixels put back at every step.

        x_{t−1} = known ? √ᾱ_{t−1} x_0 + √(1−ᾱ_{t−1}) z : DDPM's step from x_t

    known        booleans that broadcast to x0: True where the picture stays, False where it is
                 drawn.  There the values of x0 are not looked at
    resamplings  r: how often each stretch of ``jump`` steps is walked.  With 1 the known pixels
                 are merely replaced, and what is drawn never quite fits, since the known part is
                 noised without regard to it.  Going back up with fresh noise, and down again,
                 lets the two agree

    steps · resamplings evaluations.  The last x has exactly the known pixels of x0.
    """
    x0, known = check_range("x0", x0), check_mask("known", known, x0)
    positive_int("jump", jump)
    positive_int("resamplings", resamplings)
    diffusion = GaussianDiffusion(schedule.respaced(steps))
    return _repaint(denoise, x0, known, diffusion, jump, resamplings, rng)


def _repaint(denoise, x0, known, diffusion, jump, resamplings, rng) -> Iterator:
    def noise():
        return randn(x0.shape, rng=rng, dtype=x0.dtype)

    # ᾱ of the clean picture, then of every step
    level = np.append(1.0, diffusion.schedule.alphas_cumprod)
    x = noise()
    for high in range(diffusion.schedule.T, 0, -jump):
        low = max(high - jump, 0)
        for again in range(resamplings):
            if again:  # from q(x_high | x_low)
                kept = float(level[high] / level[low])
                x = math.sqrt(kept) * x + math.sqrt(1 - kept) * noise()
            for i in reversed(range(low, high)):
                drawn = ancestral_step(denoise, diffusion, x, i, rng=rng)
                given = math.sqrt(level[i]) * x0 + math.sqrt(1 - level[i]) * noise()
                x = xp.where(known, given, drawn)
                yield x


def variations(
    denoise: Callable,
    x0,
    schedule: NoiseSchedule,
    *,
    eta: float,
    steps: int = 50,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Back to the noise that DDIM makes x0 of, and down again with fresh noise of share ``eta``.

    0 gives x0 back, 1 hardly remembers it.
    """
    x_T = _last(invert_ddim(denoise, check_range("x0", x0), schedule, steps=steps))
    return sample_ddim(denoise, x_T, schedule, steps=steps, eta=eta, rng=rng)


def interpolate(
    denoise: Callable,
    first,
    second,
    schedule: NoiseSchedule,
    *,
    weights: Sequence[float],
    steps: int = 50,
) -> Iterator:
    """From ``first`` (N, ...) to ``second``, by way of the noises that DDIM makes them of.

    Yields, for each weight in [0, 1], the pictures that stand so far on the way: 0 is first, 1 is
    second, both up to the error of inversion.
    """
    first = check_pictures(check_range("first", first))
    second = check_range("second", second)
    check_pictures(first, second=second)
    if not all(0 <= weight <= 1 for weight in weights):
        raise ValueError(f"weights: expected numbers in [0, 1], got {weights}")
    noises = [_last(invert_ddim(denoise, x, schedule, steps=steps)) for x in (first, second)]
    for weight in weights:
        x_T = slerp(*noises, weight)
        yield _last(sample_ddim(denoise, x_T, schedule, steps=steps, clip=False))


def slerp(a, b, weight: float):
    """sin((1−w)θ)/sin θ · a + sin(wθ)/sin θ · b, with θ the angle between a and b, each (N, ...).

    The straight way between two noises passes where noise never is, too close to zero; this one
    keeps the length.  (K. Shoemake, "Animating Rotation with Quaternion Curves", 1985.)

    Raises ValueError unless b is like a and weight in [0, 1], TypeError unless both are
    floating-point.
    """
    a, b = check_pictures(asarray(a)), check_pictures(asarray(b))
    check_pictures(a, b=b)
    if not 0 <= weight <= 1:
        raise ValueError(f"weight: expected a number in [0, 1], got {weight}")
    weight, axes = float(weight), tuple(range(1, a.ndim))

    def dot(p, q):
        return (p * q).sum(axis=axes, keepdims=True)

    theta = xp.arccos(xp.clip(dot(a, b) / xp.sqrt(dot(a, a) * dot(b, b)), -1, 1)) / math.pi

    def share(w):  # sin(wθ)/sin θ, also where θ = 0, since sinc(x) = sin(πx)/(πx)
        return w * xp.sinc(w * theta) / xp.sinc(theta)

    return share(1 - weight) * a + share(weight) * b


def _last(film: Iterator):
    """The last picture of a film."""
    return deque(film, maxlen=1).pop()


def check_range(name: str, x):
    """x as an array of the backend; ValueError unless its values lie in [−1, 1], TypeError unless
    they are floating-point."""
    x = check_pictures(asarray(x))
    if not bool((abs(x) <= 1).all()):
        raise ValueError(f"{name}: expected values in [−1, 1], got {x.min()} … {x.max()}")
    return x


def check_mask(name: str, mask, x):
    """mask as booleans of the backend, ValueError unless they are and broadcast to x."""
    mask = asarray(mask)
    if mask.dtype.kind != "b":
        raise TypeError(f"{name}: expected booleans, got {mask.dtype}")
    padded = (1,) * (x.ndim - mask.ndim) + mask.shape
    if len(padded) != x.ndim or any(m not in (1, n) for m, n in zip(padded, x.shape, strict=True)):
        raise ValueError(f"{name}: expected a shape that broadcasts to {x.shape}, got {mask.shape}")
    return mask
