"""Diffusion in continuous time: stochastic differential equations from pictures to noise.

    dx = f(t) x dt + g(t) dw        ⇔        x_t = α(t) x_0 + σ(t) ε,   ε ~ N(0, I)

Both sides say the same.  The mean shrinks at the rate f; the variance σ² shrinks at twice that
rate and grows by g²:

    f = d ln α/dt,        g² = dσ²/dt − 2 f σ²

so each process below states α, σ and their rates, and its drift and diffusion follow.

Sources: Y. Song et al., "Score-Based Generative Modeling through Stochastic Differential
Equations", 2021, section 3.4 and appendix B, C (VP, sub-VP, VE); T. Karras et al., "Elucidating the
Design Space of Diffusion-Based Generative Models", 2022, appendix B.2 (the relation above), and
section 3 (σ(t) = t).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from tinydiff.backend import randn, to_numpy
from tinydiff.diffusion.parametrisation import check_pictures, column


class SDE(ABC):
    """A linear SDE from pictures, at t = ``start``, to noise, at t = ``end``.

    Moments t are numbers in that range, one or an array (N,) on the host; what depends on t alone
    is float64 of the same shape.  Pictures x are backend arrays (N, ...).
    """

    start: float = 0.0
    end: float = 1.0

    @abstractmethod
    def alpha(self, t) -> np.ndarray:
        """α(t), the factor of x_0 in x_t."""

    @abstractmethod
    def sigma(self, t) -> np.ndarray:
        """σ(t), the factor of ε in x_t."""

    @abstractmethod
    def log_alpha_rate(self, t) -> np.ndarray:
        """f(t) = d ln α/dt"""

    @abstractmethod
    def variance_rate(self, t) -> np.ndarray:
        """dσ²/dt"""

    @property
    @abstractmethod
    def prior_sigma(self) -> float:
        """Standard deviation of the noise that stands for x at the end."""

    def drift(self, x, t):
        """f(t) x, like x; raises ValueError for moments outside the process."""
        return column(self.log_alpha_rate(self._moments(t)), check_pictures(x)) * x

    def diffusion(self, t) -> np.ndarray:
        """g(t) = √(dσ²/dt − 2 f σ²); raises ValueError for moments outside the process."""
        t = self._moments(t)
        return np.sqrt(self.variance_rate(t) - 2 * self.log_alpha_rate(t) * self.sigma(t) ** 2)

    def prior(self, shape, *, rng: np.random.Generator | None = None, dtype=np.float32):
        """Noise to begin with: a backend array drawn from N(0, prior_sigma² I)."""
        return self.prior_sigma * randn(shape, rng=rng, dtype=dtype)

    def _moments(self, t) -> np.ndarray:
        t = np.asarray(to_numpy(t), np.float64)
        if not np.all((t >= self.start) & (t <= self.end)):
            raise ValueError(f"t: expected moments in {self.start:g} … {self.end:g}, got {t}")
        return t


@dataclass(frozen=True)
class VPSDE(SDE):
    """Variance preserving, DDPM's: dx = −½ β(t) x dt + √β(t) dw, with β from beta_min to beta_max.

    α² + σ² = 1.  In T steps it is about ``NoiseSchedule.linear(T, beta_min/T, beta_max/T)``.
    Raises ValueError unless 0 < beta_min ≤ beta_max.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    prior_sigma = 1.0

    def __post_init__(self) -> None:
        _rising(beta_min=self.beta_min, beta_max=self.beta_max)

    def beta(self, t) -> np.ndarray:
        return self.beta_min + np.asarray(t, np.float64) * (self.beta_max - self.beta_min)

    def integral(self, t) -> np.ndarray:
        """∫₀ᵗ β"""
        t = np.asarray(t, np.float64)
        return t * self.beta_min + t**2 * (self.beta_max - self.beta_min) / 2

    def alpha(self, t) -> np.ndarray:
        return np.exp(-self.integral(t) / 2)

    def sigma(self, t) -> np.ndarray:
        return np.sqrt(-np.expm1(-self.integral(t)))

    def log_alpha_rate(self, t) -> np.ndarray:
        return -self.beta(t) / 2

    def variance_rate(self, t) -> np.ndarray:
        return self.beta(t) * np.exp(-self.integral(t))


class SubVPSDE(VPSDE):
    """VP's drift with less noise, σ = σ_VP² and so α² + σ² < 1: made for likelihoods."""

    def sigma(self, t) -> np.ndarray:
        return -np.expm1(-self.integral(t))

    def variance_rate(self, t) -> np.ndarray:
        return 2 * self.sigma(t) * self.beta(t) * np.exp(-self.integral(t))


@dataclass(frozen=True)
class VESDE(SDE):
    """Variance exploding: noise piles up on a picture that stays, σ = σ_min (σ_max/σ_min)ᵗ.

    The start already has σ_min of it, too little to be seen.  Raises ValueError unless
    0 < sigma_min ≤ sigma_max.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        _rising(sigma_min=self.sigma_min, sigma_max=self.sigma_max)

    @property
    def prior_sigma(self) -> float:
        return self.sigma_max

    def alpha(self, t) -> np.ndarray:
        return np.ones(np.shape(t))

    def sigma(self, t) -> np.ndarray:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** np.asarray(t, np.float64)

    def log_alpha_rate(self, t) -> np.ndarray:
        return np.zeros(np.shape(t))

    def variance_rate(self, t) -> np.ndarray:
        return 2 * math.log(self.sigma_max / self.sigma_min) * self.sigma(t) ** 2


class EDMSDE(VESDE):
    """Karras et al.'s: time is the noise level, σ(t) = t, on a picture that stays (s = 1)."""

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0):
        super().__init__(sigma_min, sigma_max)

    start = property(lambda self: self.sigma_min)
    end = property(lambda self: self.sigma_max)

    def sigma(self, t) -> np.ndarray:
        return np.asarray(t, np.float64)

    def variance_rate(self, t) -> np.ndarray:
        return 2 * np.asarray(t, np.float64)


def _rising(**ends: float) -> None:
    (low, a), (high, b) = ends.items()
    if not 0 < a <= b < math.inf:
        raise ValueError(f"{low}, {high}: expected 0 < {low} ≤ {high}, got {a} and {b}")
