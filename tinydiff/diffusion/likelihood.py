"""The variational bound: how many bits a picture costs, step by step.

    −log p(x_0) ≤ L_T + Σ_{t≥1} L_{t−1} + L_0
    L_T     = KL(q(x_T | x_0) ‖ N(0, I))                        what is left of the picture in x_T
    L_{t−1} = KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t))      each step of undoing the noise
    L_0     = −log p(x_0 | x_1)                                 the byte itself

A sender who shares the network with the receiver needs that many bits for x_0; at 0 would be
nothing but the picture's own surprise.  All is in bits per dimension: nats / (ln 2 · H·W·C).
Bytes have 256 levels in [−1, 1], and p(x_0 | x_1) gives each the mass of a Gaussian in its bin
(`tinydiff.diffusion.discretised`).  L_0 and Σ L_{t−1} are estimated with one x_t for each t asked
for; steps are counted from 0, where L_0 stands.

Sources: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020, sections 2, 3.3 and 4.3;
J. Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics", 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tinydiff import backend
from tinydiff.backend import asarray, randn, to_numpy, xp
from tinydiff.diffusion.denoiser import predictor
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.diffusion.learned_variance import bound_in_bits, interpolated_log_variance
from tinydiff.diffusion.parametrisation import check_pictures, column
from tinydiff.diffusion.schedule import NoiseSchedule, positive_int
from tinydiff.recording import no_grad


def bits_per_dim(nats, size: int):
    """nats / (ln 2 · size), for pictures of ``size`` numbers"""
    return nats / (math.log(2) * size)


def prior_bits(schedule: NoiseSchedule, x0) -> np.ndarray:
    """L_T of each picture x0 (N, ...): float64 (N,) on the host.

    ½ (ᾱ_T mean(x_0²) − ᾱ_T − ln(1 − ᾱ_T)) nats a dimension
    """
    x0, left = check_pictures(asarray(x0)), float(schedule.alphas_cumprod[-1])
    squares = to_numpy(xp.square(x0).reshape(len(x0), -1).mean(axis=1)).astype(np.float64)
    return bits_per_dim(0.5 * (left * squares - left - math.log1p(-left)), 1)


def bound_bits(
    model,
    diffusion: GaussianDiffusion,
    x0,
    t,
    cond=None,
    *,
    variance: str = "posterior",
    clip: bool = True,
    rng: np.random.Generator | None = None,
):
    """L_{t−1} of each picture, or L_0 where t = 0: a backend array (N,), with one x_t each.

    model     called as model(x, t, cond); put it into evaluation mode first
    x0        pictures (N, ...) of 256 levels in [−1, 1]
    t         whole steps (N,), on the host; a schedule of fewer steps (`NoiseSchedule.respaced`)
              has a bound of its own, and asks the network by the numbers it knows
    cond      a label for each picture; without it a conditional model is told "no label"
    variance  of p(x_{t−1} | x_t): "posterior", β̃_t, or "beta", β_t; at t = 0 both are β̃_1.
              It does not matter to a network that learns its variance
    clip      clamp the predicted x_0 to [−1, 1], as samplers do
    rng       draws the noise, the process's generator by default

    Raises ValueError or TypeError for arguments that do not fit.
    """
    x0, schedule = check_pictures(asarray(x0)), diffusion.schedule
    fixed = _log_variances(schedule, variance)
    noise = randn(x0.shape, rng=rng, dtype=x0.dtype)
    x_t = diffusion.q_sample(x0, t, noise)
    q = diffusion.q_posterior(x0, x_t, t)
    t = to_numpy(t)
    predicted, v = diffusion.split(x_t, predictor(model, cond)(x_t, schedule.timesteps[t]))
    guess = diffusion.to_x0(x_t, t, predicted)
    mean, *_ = diffusion.q_posterior(xp.clip(guess, -1, 1) if clip else guess, x_t, t)
    log_variance = column(fixed[t], x0) if v is None else interpolated_log_variance(schedule, t, v)
    with no_grad():
        return bound_in_bits(x0, t, q, (mean, log_variance)).data


def every_bound(
    model, diffusion: GaussianDiffusion, x0, cond=None, **settings
) -> Iterator[tuple[int, object]]:
    """(t, L_{t−1} or L_0 of each picture) for t from T − 1 down to 0; arguments as `bound_bits`.

    The sum over all t, and `prior_bits`, is the bound of each picture: T evaluations for each.
    """
    for t in reversed(range(diffusion.schedule.T)):
        yield t, bound_bits(model, diffusion, x0, np.full(len(x0), t), cond, **settings)


def estimated_bound(
    model,
    diffusion: GaussianDiffusion,
    x0,
    cond=None,
    *,
    draws: int = 1,
    rng: np.random.Generator | None = None,
    **settings,
) -> np.ndarray:
    """L_T + T · L_{t−1} at ``draws`` random t for each picture: float64 (N, draws) on the host.

    Each is right on average, so their mean is the bound, and their spread over the root of their
    number its error.  t ~ U{0 … T−1}; arguments as `bound_bits`.
    """
    rng, T = backend.rng if rng is None else rng, diffusion.schedule.T
    steps = rng.integers(T, size=(positive_int("draws", draws), len(x0)))
    terms = [bound_bits(model, diffusion, x0, t, cond, rng=rng, **settings) for t in steps]
    prior = prior_bits(diffusion.schedule, x0)[:, None]
    return prior + T * to_numpy(xp.stack(terms, axis=1)).astype(np.float64)


def _log_variances(schedule: NoiseSchedule, variance: str) -> np.ndarray:
    """ln σ_t², float64 (T,)"""
    small = schedule.posterior_log_variance_clipped
    if variance == "posterior":
        return small
    if variance == "beta":  # with β_0, x_0 would be seen worse through its bins
        return np.append(small[0], np.log(schedule.betas[1:]))
    raise ValueError(f"variance: expected 'posterior' or 'beta', got {variance!r}")
