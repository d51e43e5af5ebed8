"""A distribution whose diffusion is known at every moment: a mixture of Gaussians stays one.

    x_0 ~ Σ_k w_k N(m_k, diag s_k²)
    x_t ~ Σ_k w_k N(a m_k, diag(a² s_k² + σ²)),        a = √ᾱ_t,  σ = √(1−ᾱ_t)

So its density, its score ∇ log q(x_t) and with them the noise that the ideal network would predict,

    E[ε | x_t] = −σ ∇ log q(x_t)                       (Tweedie's formula)

are short formulas: what samplers and likelihoods should arrive at is known exactly.  With one
component this is Gaussian data, with s_k = 0 a finite data set.

Source: Y. Song et al., "Score-Based Generative Modeling through Stochastic Differential
Equations", 2021, section 2 and appendix G.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import asarray
from tinydiff.diffusion.schedule import NoiseSchedule
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor


class GaussianMixture:
    """Σ_k w_k N(m_k, diag s_k²), and what becomes of it under noise.

    weights  (K,) not negative; they are divided by their sum
    means    (K, D)
    stds     standard deviations ≥ 0: (K, D), (K, 1), (K,) or one number for all

    Everywhere below, ``signal`` and ``sigma`` are the a and σ above: numbers, or one for each of
    the N points x (N, D).  As they stand, 1 and 0, they mean x_0 itself.  Raises ValueError for
    arguments that do not fit.
    """

    def __init__(self, weights, means, stds):
        self.weights = np.asarray(weights, np.float64)
        self.means = np.asarray(means, np.float64)
        if self.means.ndim != 2 or self.weights.shape != self.means.shape[:1]:
            raise ValueError(
                "weights, means: expected shapes (K,) and (K, D), "
                f"got {self.weights.shape} and {self.means.shape}"
            )
        if not (np.all(self.weights >= 0) and 0 < self.weights.sum() < math.inf):
            raise ValueError(f"weights: expected numbers ≥ 0, not all zero, got {self.weights}")
        self.weights = self.weights / self.weights.sum()
        stds = np.asarray(stds, np.float64)
        if stds.ndim == 1:
            stds = stds[:, None]
        try:
            self.stds = np.broadcast_to(stds, self.means.shape)
        except ValueError:
            raise ValueError(
                f"stds: expected a shape that fits means {self.means.shape}, got {stds.shape}"
            ) from None
        if not np.all(stds >= 0):
            raise ValueError(f"stds: expected numbers ≥ 0, got {stds.tolist()}")

    def sample(self, count: int, *, rng: np.random.Generator | None = None, dtype=np.float64):
        """Draw x_0: a backend array (count, D)."""
        rng = backend.rng if rng is None else rng
        which = rng.choice(len(self.weights), count, p=self.weights)
        noise = rng.standard_normal((count, self.means.shape[1]))
        return asarray(self.means[which] + self.stds[which] * noise, dtype)

    def log_density(self, x, signal=1.0, sigma=0.0):
        """log q(x), a backend array (N,)"""
        with no_grad():
            return ops.logsumexp(self._compare(x, signal, sigma)[0]).data

    def score(self, x, signal=1.0, sigma=0.0) -> Tensor:
        """∇ log q(x) = Σ_k P(k | x) (a m_k − x)/(a² s_k² + σ²), (N, D)"""
        joint, pulls = self._compare(x, signal, sigma)
        shares = (joint - ops.logsumexp(joint, keepdims=True)).exp()  # P(k | x)
        return (shares.reshape(*shares.shape, 1) * pulls).sum(axis=1)

    def ideal_network(self, schedule: NoiseSchedule) -> Callable:
        """model(x, t, cond) -> E[ε | x_t], a Tensor: what training with "eps" would lead to.

        x is a Tensor (N, D), t the host's (N,), whole or fractional; cond must be None.
        """

        def model(x, t, cond=None) -> Tensor:
            if cond is not None:
                raise ValueError(f"cond: a mixture has no classes to ask for, got {cond}")
            signal, sigma = schedule.signal_and_sigma(t)
            return self.score(x, signal, sigma) * asarray(-sigma[:, None], x.dtype)

        return model

    def _compare(self, x, signal, sigma) -> tuple[Tensor, Tensor]:
        """log w_k N(x; …) (N, K), and (a m_k − x)/(a² s_k² + σ²) (N, K, D)."""
        x = x if isinstance(x, Tensor) else Tensor(x)
        if x.ndim != 2 or x.shape[1] != self.means.shape[1]:
            raise ValueError(f"x: expected shape (N, {self.means.shape[1]}), got {x.shape}")
        signal, sigma = (np.reshape(np.float64(a), (-1, 1, 1)) for a in (signal, sigma))
        variances = (signal * self.stds) ** 2 + sigma**2
        with np.errstate(divide="ignore"):  # a component of weight 0
            heights = np.log(self.weights) - 0.5 * np.log(2 * np.pi * variances).sum(axis=2)
        offsets = asarray(signal * self.means, x.dtype) - x.reshape(len(x), 1, -1)
        pulls = offsets / asarray(variances, x.dtype)
        return asarray(heights, x.dtype) - 0.5 * (offsets * pulls).sum(axis=2), pulls
