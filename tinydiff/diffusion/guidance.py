"""Classifier-free guidance: away from what the network would draw anyway, towards the condition.

    ε̂(x, t) = ε(x, t) + w (ε(x, t, c) − ε(x, t))

c is a label or a caption.  w = 0 ignores it, w = 1 is the plain conditional model, and w > 1
exaggerates what sets c apart: clearer pictures, fewer kinds of them.  Two refinements ask for less
of the exaggeration where it harms: only at the noise levels of an interval (`interval`), and
without the glare that comes with it (`rescale`).  A learned variance is not guided: that of c is
taken.

Sources: J. Ho and T. Salimans, "Classifier-Free Diffusion Guidance", 2022.  Their equation 6 has
(1 + w) ε(x, t, c) − w ε(x, t): their w is ours minus 1.  T. Kynkäänniemi et al., "Applying
Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion Models", 2024,
equation 5.  S. Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2023,
section 3.4.  A. Nichol et al., "GLIDE", 2022 (the variance, in their code).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydiff.backend import xp
from tinydiff.diffusion.conditioning import check_condition, check_count, null_condition
from tinydiff.diffusion.denoiser import denoiser, eps_and_variance, from_both
from tinydiff.diffusion.gaussian import GaussianDiffusion, column


def classifier_free(
    model,
    diffusion: GaussianDiffusion,
    cond,
    *,
    scale: float,
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
) -> Callable:
    """The denoiser of ``model`` guided with weight ``scale`` (w above) to cond, labels or tokens.

    A picture whose condition is `null_condition` (model) is not guided.

    interval  (low, high): w is ``scale`` where the noise per signal, σ = √(1−ᾱ_t)/√ᾱ_t, lies
              between the two, and 1 elsewhere
    rescale   φ in [0, 1]: how far the predicted x_0 gets back the contrast it had with w = 1

    If the variance is learned, ``with_variance`` tells the v of the network that is told
    the condition (for scale 0, where none is told it, of the one that is not).

    One evaluation of the model a step for scales 0 and 1 and outside of the interval, one of
    twice the batch otherwise.  Raises ValueError if the model is unconditional or does not know
    cond, scale is not finite, the interval is none, or rescale lies outside [0, 1].
    """
    scale = finite("scale", scale)
    low, high = (0.0, math.inf) if interval is None else interval
    if not 0 <= low < high:
        raise ValueError(f"interval: expected (low, high) with 0 ≤ low < high, got {interval}")
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale: expected a number in [0, 1], got {rescale}")
    cond = check_condition(model, cond)
    if scale == 1:
        return denoiser(model, diffusion, cond)
    nulls = np.broadcast_to(null_condition(model), cond.shape)
    if scale == 0 and interval is None and rescale == 0:
        return denoiser(model, diffusion, nulls)
    conditional = eps_and_variance(model, diffusion, cond)
    twice = eps_and_variance(model, diffusion, np.concatenate([cond, nulls]))

    def guided(x, t):
        check_count(cond, x)
        signal, sigma = diffusion.schedule.signal_and_sigma(t)
        inside = (low * signal <= sigma) & (sigma <= high * signal)
        if not inside.any():
            return conditional(x, t)
        eps, v = twice(xp.concatenate([x, x]), np.concatenate([t, t]))
        v = None if v is None else v[: len(x)]
        with_cond, without = eps[: len(x)], eps[len(x) :]
        weight = scale if inside.all() else column(np.where(inside, scale, 1.0), x)
        eps = without + weight * (with_cond - without)
        if rescale == 0:
            return eps, v
        wanted, x0 = (diffusion.predict_x0(x, t, e) for e in (with_cond, eps))
        return diffusion.predict_eps(x, t, rescaled(x0, wanted, rescale)), v

    return from_both(guided, diffusion.learned_variance)


def rescaled(x0, wanted, phi: float):
    """φ (std(wanted)/std(x0)) x0 + (1−φ) x0: as much contrast as ``wanted`` has, if φ = 1.

    std is over all pixels and channels of a picture.  Lin et al. do this to what their network
    predicts, v, which is −x_0 where there is only noise; we do it to x_0 at every step.
    """
    axes = tuple(range(1, x0.ndim))
    ratio = wanted.std(axis=axes, keepdims=True) / x0.std(axis=axes, keepdims=True)
    return x0 * (phi * ratio + (1 - phi))


def finite(name: str, value: float) -> float:
    """``value`` as a float; ValueError, naming the argument, if it is not finite."""
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value}")
    return value
