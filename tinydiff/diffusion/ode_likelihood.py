"""The exact likelihood of a picture: density carried along the probability-flow ODE.

Noise need not be undone by noise: there is a flow without any, under which the pictures are
spread as in the forward process at every moment.  In λ = ln snr it is

    dx/dλ = f(x, λ) = ½ σ (σ x − ε(x, t)),         σ = √(1−ᾱ_t),  t the moment of λ

From data (t = 0) to noise (t = T − 1) it leads each picture to its own x_T, and compresses or
expands the space around it on the way:

    log p_0(x) = log N(x_T; 0, I) + ∫ tr(∂f/∂x) dλ           from λ_0 to λ_{T−1}

The trace of a Jacobian that is too large to write down is estimated by probes of random signs,

    tr(J) = E[s · (Jᵀ s)],        s_i = ±1 at random

and Jᵀs is what one walk back through the network's graph gives.  Signs meet the diagonal of J
without any error; Gaussian probes would not.

x stands for x_t at t = 0: the small noise that is in it there, √(1−ᾱ_0), belongs to the model.

Sources: Y. Song et al., "Score-Based Generative Modeling through Stochastic Differential
Equations", 2021, section 4.3 and appendix D; M. Hutchinson, "A stochastic estimator of the trace
…", 1989 (random signs); L. Theis et al., "A note on the evaluation of generative models", 2016,
section 3.1 (bytes as a density).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydiff import backend, kernels
from tinydiff.backend import asarray, memory_for, randn, to_numpy, xp
from tinydiff.diffusion.denoiser import asker
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.diffusion.likelihood import bits_per_dim
from tinydiff.diffusion.parametrisation import check_pictures
from tinydiff.diffusion.runge_kutta import dormand_prince
from tinydiff.diffusion.schedule import positive_int
from tinydiff.recording import recording
from tinydiff.tensor import Tensor, grad


def ode_log_likelihood(
    model,
    diffusion: GaussianDiffusion,
    x,
    cond=None,
    *,
    probes: int = 1,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    rng: np.random.Generator | None = None,
    watch: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """log p_0(x) in nats, float64 (N, probes) on the host: an estimate by each of the probes.

    Their mean is the likelihood, their spread its error by Hutchinson's estimator; the error of
    the ODE is seen by solving again with another tolerance and a generator of the same seed.

    model       called as model(x, t, cond) with t in between whole steps; put it into evaluation
                mode first.  ``model.requires_grad_(False)`` spares it the gradients of its weights
    x           floating-point pictures (N, ...) in [−1, 1], dequantised if they are bytes
    cond        a label for each picture; without it a conditional model is told "no label"
    rtol, atol  of the ODE, see `tinydiff.diffusion.runge_kutta.dormand_prince`
    rng         draws the signs, the process's generator by default
    watch       called after each step with the share of the way in λ that is done, at last 1

    Raises ValueError or TypeError for arguments that do not fit.
    """
    x, schedule = check_pictures(asarray(x)), diffusion.schedule
    probes, n, size = positive_int("probes", probes), len(x), math.prod(x.shape[1:])
    rng = backend.rng if rng is None else rng
    signs = [xp.sign(randn(x.shape, rng=rng, dtype=x.dtype)) for _ in range(probes)]
    ask = asker(model, cond)

    def slope(log_snr: float, state):
        """d/dλ of the pictures and of the integrals so far, side by side: (N, size + probes)."""
        t = np.full(n, schedule.moment_of(math.exp(-log_snr / 2)))
        asked = np.interp(t, np.arange(schedule.T), schedule.timesteps)
        variance = 1 / (1 + math.exp(log_snr))
        sigma = math.sqrt(variance)
        here = Tensor(state[:, :size].reshape(x.shape).astype(x.dtype), requires_grad=True)
        with kernels.single_threaded_blas, recording(), memory_for(n):
            output, _ = diffusion.split(here, ask(here, asked))
            eps = diffusion.to_eps(here, t, output)
            pulls = [grad(eps, here, grad=s, retain_graph=s is not signs[-1]) for s in signs]
        moved = 0.5 * sigma * (sigma * here.data - eps.data)
        spread = [
            0.5 * sigma * (sigma * size - (s * pull).reshape(n, size).sum(axis=1, keepdims=True))
            for s, pull in zip(signs, pulls, strict=True)
        ]
        return xp.concatenate([moved.reshape(n, size), *spread], axis=1).astype(np.float64)

    start = xp.concatenate([x.reshape(n, size), xp.zeros((n, probes), x.dtype)], axis=1)
    first, last = np.log(schedule.snr[[0, -1]]).tolist()
    solution = dormand_prince(slope, start.astype(np.float64), first, last, rtol=rtol, atol=atol)
    for log_snr, state in solution:
        watch((log_snr - first) / (last - first))
        end = state
    end = to_numpy(end)
    prior = -0.5 * (end[:, :size] ** 2 + math.log(2 * math.pi)).sum(axis=1)
    return prior[:, None] + end[:, size:]


def dequantised(x0, *, rng: np.random.Generator | None = None):
    """Bytes as a density: x0, whose 256 levels lie 2/255 apart, moved within its bin at random.

        x = x0 + u,    u ~ U[−1/255, 1/255)

    They are the bins of L_0 (see `tinydiff.diffusion.likelihood`), the first and the last closed.
    """
    check_pictures(x0)
    return x0 + (2 * backend.rand(x0.shape, rng=rng, dtype=x0.dtype) - 1) / 255


def bits_of_bytes(log_density, size: int):
    """Bits a dimension that a log-density of dequantised pictures of ``size`` numbers stands for:

        −(log p(x) + size · ln(2/255)) / (size · ln 2)

    On average over u no less than −log₂ of the byte's own probability, the integral over its bin.
    """
    return -bits_per_dim(log_density + size * math.log(2 / 255), size)
