"""The noise schedule: how fast the forward process turns a picture into noise.

    q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t I)
    q(x_t | x_0)     = N(√ᾱ_t x_0, (1−ᾱ_t) I)         with α_t = 1 − β_t, ᾱ_t = α_0 α_1 ⋯ α_t

The betas say it all: every other quantity below is derived from them, once, in float64 on the
host.  Steps are counted from 0 (hardly any noise) to T − 1 (nothing but noise), so the clean
picture stands before step 0: there ᾱ = 1.

Sources: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020 (linear; section 2);
A. Nichol and P. Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021 (cosine:
section 3.2; fewer steps: section 4); R. Rombach et al., "High-Resolution Image Synthesis with
Latent Diffusion Models", 2022 (scaled_linear, in their code); A. Jabri et al., "Scalable Adaptive
Computation for Iterative Generation", 2022, and T. Chen, "On the Importance of Noise Scheduling
for Diffusion Models", 2023, section 2.1 (sigmoid); S. Lin et al., "Common Diffusion Noise Schedules
and Sample Steps are Flawed", 2023 (sampling has to begin at the last step: section 3.3; zero
terminal snr: algorithm 1).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def derived(rule: Callable[[NoiseSchedule], np.ndarray]) -> functools.cached_property:
    """A quantity that follows from the others: computed when first asked for, then read-only."""
    return functools.cached_property(functools.wraps(rule)(lambda self: _read_only(rule(self))))


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """T noise levels and what follows from them, all float64 NumPy arrays of shape (T,).

    betas      variance of the noise each step adds, each in (0, 1)
    timesteps  by what number the network knows each step: 0 … T−1, unless `respaced`

    Raises ValueError if betas are not such numbers, or timesteps not as many rising integers.
    """

    betas: np.ndarray
    timesteps: np.ndarray | None = None

    def __post_init__(self) -> None:
        betas = np.array(self.betas, dtype=np.float64)
        if betas.ndim != 1 or betas.size == 0:
            raise ValueError(f"betas: expected shape (T,) with T ≥ 1, got {betas.shape}")
        if not np.all((betas > 0) & (betas < 1)):
            t = int(np.argmin((betas > 0) & (betas < 1)))
            raise ValueError(f"betas: expected numbers in (0, 1), got betas[{t}] = {betas[t]}")
        timesteps = np.array(np.arange(len(betas)) if self.timesteps is None else self.timesteps)
        if timesteps.shape != betas.shape or timesteps.dtype.kind != "i":
            raise ValueError(
                f"timesteps: expected {len(betas)} integers, one per beta, "
                f"got {timesteps.dtype} of shape {timesteps.shape}"
            )
        if timesteps[0] < 0 or np.any(np.diff(timesteps) <= 0):
            raise ValueError(f"timesteps: expected rising numbers from 0 on, got {timesteps}")
        object.__setattr__(self, "betas", _read_only(betas))
        object.__setattr__(self, "timesteps", _read_only(timesteps.astype(np.int64)))

    @classmethod
    def linear(
        cls, T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
    ) -> NoiseSchedule:
        """Betas that rise evenly from beta_start to beta_end.

        The defaults are Ho et al.'s, made for T = 1000, and are taken as they stand for every T.
        A much smaller T then leaves some of the picture in x_T (ᾱ = 0.36 for T = 100), which
        sampling from pure noise cannot know.  For fewer steps train with T = 1000 and sample
        `respaced`; to train with a small T, multiply both ends by 1000/T or take `cosine`.
        """
        return cls(np.linspace(beta_start, beta_end, positive_int("T", T)))

    @classmethod
    def cosine(cls, T: int = 1000, s: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
        """ᾱ falls as cos² from 1 to 0: gentler than linear at both ends, and fit for every T.

            f(u) = cos²((u + s)/(1 + s) · π/2),    β_t = min(1 − f((t+1)/T) / f(t/T), max_beta)

        s keeps the first betas from vanishing, max_beta the last from reaching 1.
        """
        if not s >= 0:
            raise ValueError(f"s: expected a number ≥ 0, got {s}")
        u = np.arange(positive_int("T", T) + 1) / T
        return cls._falling(np.cos((u + s) / (1 + s) * np.pi / 2) ** 2, max_beta)

    @classmethod
    def scaled_linear(
        cls, T: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012
    ) -> NoiseSchedule:
        """√β rises evenly: the schedule of latent diffusion, with Stable Diffusion's ends.

        As with `linear`, the ends are made for T = 1000.  Much of the picture, √ᾱ = 0.068 of it,
        is left in x_T: see `zero_terminal_snr`.
        """
        for name, beta in (("beta_start", beta_start), ("beta_end", beta_end)):
            if not 0 < beta < 1:
                raise ValueError(f"{name}: expected a number in (0, 1), got {beta}")
        return cls(np.linspace(beta_start**0.5, beta_end**0.5, positive_int("T", T)) ** 2)

    @classmethod
    def sigmoid(
        cls,
        T: int = 1000,
        start: float = -3.0,
        end: float = 3.0,
        tau: float = 1.0,
        max_beta: float = 0.999,
    ) -> NoiseSchedule:
        """ᾱ falls from 1 to 0 as a piece of a sigmoid, from start to end: for larger pictures.

            f(u) = σ(end/τ) − σ((start + u (end − start))/τ),    σ(z) = 1/(1 + e⁻ᶻ)

        and β_t as in `cosine`.  A larger start or a smaller tau leaves more steps at high noise.
        Not to be mixed up with diffusers' "sigmoid", whose betas are a sigmoid.
        """
        if not (np.isfinite([start, end]).all() and start < end):
            raise ValueError(f"start: expected a number below end = {end}, got {start}")
        if not tau > 0:
            raise ValueError(f"tau: expected a number > 0, got {tau}")
        u = np.arange(positive_int("T", T) + 1) / T
        falling = 1 / (1 + np.exp((start + u * (end - start)) / tau))
        return cls._falling(falling - falling[-1], max_beta)

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod, timesteps=None) -> NoiseSchedule:
        """The schedule that has these ᾱ (T,), which fall all the way between 1 and 0.

        timesteps  as in `NoiseSchedule`

        Raises ValueError if they do not fall, and names the first that does not.
        """
        levels = np.array(alphas_cumprod, dtype=np.float64)
        if levels.ndim != 1 or levels.size == 0:
            raise ValueError(f"alphas_cumprod: expected shape (T,) with T ≥ 1, got {levels.shape}")
        before = np.append(1.0, levels[:-1])
        falls = (levels > 0) & (levels < before)
        if not falls.all():
            t = int(np.argmin(falls))
            raise ValueError(
                "alphas_cumprod: expected numbers that fall all the way between 1 and 0, "
                f"got alphas_cumprod[{t}] = {levels[t]} after {before[t]}"
            )
        return cls(1 - levels / before, timesteps)

    @classmethod
    def _falling(cls, f: np.ndarray, max_beta: float) -> NoiseSchedule:
        """ᾱ_t = f_{t+1}/f_0 for f (T + 1,) that falls to 0, but no step's β beyond max_beta."""
        if not 0 < max_beta < 1:
            raise ValueError(f"max_beta: expected a number in (0, 1), got {max_beta}")
        return cls(np.minimum(1 - f[1:] / f[:-1], max_beta))

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.betas)

    def respaced(self, steps: int) -> NoiseSchedule:
        """The same process seen at ``steps`` of its T moments only: sampling in fewer steps.

            ᾱ'_i = ᾱ_{τ_i},    β'_i = 1 − ᾱ_{τ_i} / ᾱ_{τ_{i−1}}

        τ, kept in ``timesteps``, walks from the last step, T − 1, to the clean picture in equal
        strides (rounded where steps does not divide T), so that sampling begins where x_T is pure
        noise.  Raises ValueError unless 1 ≤ steps ≤ T.
        """
        if positive_int("steps", steps) > self.T:
            raise ValueError(f"steps: expected at most T = {self.T}, got {steps}")
        if steps == self.T:
            return self
        chosen = np.linspace(0, self.T, steps + 1).round().astype(np.int64)[1:] - 1
        return NoiseSchedule.from_alphas_cumprod(
            self.alphas_cumprod[chosen], self.timesteps[chosen]
        )

    def zero_terminal_snr(self) -> NoiseSchedule:
        """The schedule stretched so that nothing of the picture is left in the last step.

            √ᾱ'_t = √ᾱ_0 (√ᾱ_t − √ᾱ_{T−1}) / (√ᾱ_0 − √ᾱ_{T−1})

        The first step keeps its noise.  The last gets ᾱ' = 2⁻²⁴ instead of 0 (half of the
        step before's, if that is less): at exactly 0, x_T is nothing but ε, and a network that
        predicts ε would say nothing of x_0.  Even so such a prediction is divided by 2⁻¹² there:
        train with "v", "x0" or "flow".  Raises ValueError for a single step.
        """
        if self.T == 1:
            raise ValueError("zero_terminal_snr: expected T ≥ 2 steps, got 1")
        root = self.sqrt_alphas_cumprod
        levels = (root[0] * (root - root[-1]) / (root[0] - root[-1])) ** 2
        levels[-1] = min(2.0**-24, levels[-2] / 2)
        return NoiseSchedule.from_alphas_cumprod(levels, self.timesteps)

    def until(self, t: int) -> NoiseSchedule:
        """The same process, ended after step t: its last x is x_t, not yet pure noise.

        What a sampler is given as x_T is then taken for x_t: so it finishes a picture that was
        noised up to step t only.  Raises ValueError unless t is a step, 0 … T−1.
        """
        if t not in range(self.T):
            raise ValueError(f"t: expected a step in 0 … {self.T - 1}, got {t}")
        return NoiseSchedule(self.betas[: t + 1], self.timesteps[: t + 1])

    def signal_and_sigma(self, t) -> tuple[np.ndarray, np.ndarray]:
        """√ᾱ and √(1−ᾱ) at moments t, whole or in between, from 0 to T − 1.

        In between, ln snr is drawn straight from one whole step to the next.
        """
        if np.asarray(t).dtype.kind in "iu":
            return self.sqrt_alphas_cumprod[t], self.sqrt_one_minus_alphas_cumprod[t]
        log_snr = np.interp(t, np.arange(self.T), np.log(self.snr))
        return np.sqrt(1 / (1 + np.exp(-log_snr))), np.sqrt(1 / (1 + np.exp(log_snr)))

    def moment_of(self, sigma) -> np.ndarray:
        """The moment t at which √(1−ᾱ)/√ᾱ, noise per signal, is ``sigma``, as a fractional step.

        Levels beyond those of the schedule give its first or last step.
        """
        levels = -np.log(self.snr) / 2  # ln σ, which rises
        return np.interp(np.log(sigma), levels, np.arange(self.T))

    @derived
    def sigmas(self):
        """√(1−ᾱ_t)/√ᾱ_t, noise per signal: what x_t/√ᾱ_t has been blurred with."""
        return 1 / np.sqrt(self.snr)

    @derived
    def alphas(self):
        """α_t = 1 − β_t"""
        return 1 - self.betas

    @derived
    def alphas_cumprod(self):
        """ᾱ_t = α_0 α_1 ⋯ α_t: the share of x_t's variance that is signal."""
        return np.cumprod(self.alphas)

    @derived
    def alphas_cumprod_prev(self):
        """ᾱ_{t−1}; before step 0 stands the clean picture, 1."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @derived
    def sqrt_alphas_cumprod(self):
        """√ᾱ_t, the factor of x_0 in x_t."""
        return np.sqrt(self.alphas_cumprod)

    @derived
    def sqrt_one_minus_alphas_cumprod(self):
        """√(1−ᾱ_t), the factor of ε in x_t."""
        return np.sqrt(1 - self.alphas_cumprod)

    @derived
    def snr(self):
        """Signal-to-noise ratio ᾱ_t / (1−ᾱ_t)."""
        return self.alphas_cumprod / (1 - self.alphas_cumprod)

    @derived
    def posterior_variance(self):
        """β̃_t = (1−ᾱ_{t−1})/(1−ᾱ_t) β_t, the variance of q(x_{t−1} | x_t, x_0); β̃_0 = 0."""
        return self.betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    @derived
    def posterior_log_variance_clipped(self):
        """log β̃_t, where β̃_1 (β_0 if T = 1) stands in for β̃_0 = 0."""
        first = self.posterior_variance[1] if self.T > 1 else self.betas[0]
        return np.log(np.append(first, self.posterior_variance[1:]))

    @derived
    def posterior_mean_coef1(self):
        """√ᾱ_{t−1} β_t/(1−ᾱ_t), the factor of x_0 in the mean of q(x_{t−1} | x_t, x_0)."""
        return self.betas * np.sqrt(self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    @derived
    def posterior_mean_coef2(self):
        """√α_t (1−ᾱ_{t−1})/(1−ᾱ_t), the factor of x_t in the mean of q(x_{t−1} | x_t, x_0)."""
        return (1 - self.alphas_cumprod_prev) * np.sqrt(self.alphas) / (1 - self.alphas_cumprod)


def positive_int(name: str, value: int) -> int:
    """``value`` if it is an integer ≥ 1; otherwise a ValueError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}: expected an integer ≥ 1, got {value!r}")
    return int(value)


SCHEDULES: dict[str, Callable[[int], NoiseSchedule]] = {
    "linear": NoiseSchedule.linear,
    "scaled_linear": NoiseSchedule.scaled_linear,
    "cosine": NoiseSchedule.cosine,
    "sigmoid": NoiseSchedule.sigmoid,
}
"""By name, for settings and options; each takes T."""


def schedule_named(kind: str, T: int) -> NoiseSchedule:
    """The schedule of T steps; ValueError unless ``kind`` is in SCHEDULES."""
    if kind not in SCHEDULES:
        raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {kind!r}")
    return SCHEDULES[kind](T)
