"""Gaussian diffusion: noise added to pictures, and the loss that teaches a network to see it.

    x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε,       ε ~ N(0, I)
    v_t = √ᾱ_t ε − √(1−ᾱ_t) x_0

With ᾱ_t = cos²φ these two lines turn the pair (x_0, ε) by the angle φ into the pair (x_t, v_t).
The network sees x_t and predicts ε or v; turning back gives everything else.

Sources: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020, section 3; T. Salimans
and J. Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022, appendix D (v);
T. Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023, section 3.4;
D. Kingma et al., "Variational Diffusion Models", 2021, appendix I.1 (evenly spread t).
"""

from __future__ import annotations

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.diffusion.conditioning import (
    check_count,
    class_labels,
    drop_labels,
    null_label,
)
from tinydiff.diffusion.schedule import NoiseSchedule
from tinydiff.tensor import Tensor


class GaussianDiffusion:
    """The forward process of a schedule, its posterior, and Algorithm 1.

    schedule    the NoiseSchedule
    prediction  what the network predicts: the noise, "eps", or the velocity, "v"

    Pictures x are floating-point backend arrays (N, ...) in [−1, 1]; t is an array (N,), a step in
    0 … T−1 for each picture, whole or (but for `q_posterior`) in between.  Results have the dtype
    of x.  Every method raises ValueError or TypeError for arrays that do not fit.
    """

    def __init__(self, schedule: NoiseSchedule, prediction: str = "eps"):
        if prediction not in ("eps", "v"):
            raise ValueError(f"prediction: expected 'eps' or 'v', got {prediction!r}")
        self.schedule = schedule
        self.prediction = prediction

    def q_sample(self, x0, t, noise):
        """x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε: jump from the clean picture to step t at once."""
        signal, sigma = self._signal_and_sigma(x0, t, noise=noise)
        return signal * x0 + sigma * noise

    def velocity(self, x0, t, noise):
        """v = √ᾱ_t ε − √(1−ᾱ_t) x_0"""
        signal, sigma = self._signal_and_sigma(x0, t, noise=noise)
        return signal * noise - sigma * x0

    def predict_x0(self, x_t, t, eps):
        """x_0 = (x_t − √(1−ᾱ_t) ε) / √ᾱ_t"""
        signal, sigma = self._signal_and_sigma(x_t, t, eps=eps)
        return (x_t - sigma * eps) / signal

    def predict_eps(self, x_t, t, x0):
        """ε = (x_t − √ᾱ_t x_0) / √(1−ᾱ_t)"""
        signal, sigma = self._signal_and_sigma(x_t, t, x0=x0)
        return (x_t - signal * x0) / sigma

    def x0_from_v(self, x_t, t, v):
        """x_0 = √ᾱ_t x_t − √(1−ᾱ_t) v"""
        signal, sigma = self._signal_and_sigma(x_t, t, v=v)
        return signal * x_t - sigma * v

    def eps_from_v(self, x_t, t, v):
        """ε = √(1−ᾱ_t) x_t + √ᾱ_t v"""
        signal, sigma = self._signal_and_sigma(x_t, t, v=v)
        return sigma * x_t + signal * v

    def q_posterior(self, x0, x_t, t):
        """Mean, variance and log variance of q(x_{t−1} | x_t, x_0) = N(μ̃_t, β̃_t I).

        The mean has the shape of x0, the others (N, 1, ..., 1).  At t = 0 the mean is x_0 and the
        variance 0; its logarithm is then that of step 1.
        """
        schedule = self.schedule
        check_pictures(x_t, x0=x0)
        t = self._check_steps(t, x_t)
        mean = (
            _per_picture(schedule.posterior_mean_coef1, t, x_t) * x0
            + _per_picture(schedule.posterior_mean_coef2, t, x_t) * x_t
        )
        variance = _per_picture(schedule.posterior_variance, t, x_t)
        return mean, variance, _per_picture(schedule.posterior_log_variance_clipped, t, x_t)

    def training_loss(
        self,
        model,
        x0,
        *,
        cond=None,
        drop: float = 0.1,
        weighting: str = "simple",
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        """Algorithm 1: E[ w_t (target − model(x_t, t, cond))² ] with t ~ U{0 … T−1}, a scalar.

        The mean is over pictures and pixels.  Each t is uniform by itself; those of one batch are
        spread evenly over 0 … T−1, which makes the gradient less noisy.

        model      model(x, t, cond) -> Tensor of x's shape; t and cond are host integers (N,)
        cond       labels (N,) for a conditional model; each becomes the null label, "none",
                   with probability ``drop``, for classifier-free guidance
        weighting  "simple": w_t = 1, Ho et al.'s L_simple;
                   "min_snr": the weight on the error of x_0, snr_t, is capped at 5
        rng        draws t, then the noise, then the drops; the process's generator by default
        """
        rng = backend.rng if rng is None else rng
        null = null_label(model)
        if null is not None and cond is None:
            raise ValueError(
                "cond: the model is conditional and learns from labels; "
                f"give {null}, the null label, to pictures that have none"
            )
        x0 = check_pictures(asarray(x0))
        # Evenly spread from a random start: each t is uniform, yet no batch is all easy or hard.
        T = self.schedule.T
        t = (rng.integers(T) + np.arange(len(x0)) * T // len(x0)) % T
        weights = self.loss_weights(weighting)
        noise = randn(x0.shape, rng=rng, dtype=x0.dtype)
        if cond is not None:
            labels = class_labels(model, cond)
            check_count(labels, x0)
            cond = drop_labels(labels, null, drop, rng)

        predicted = model(Tensor(self.q_sample(x0, t, noise)), t, cond)
        if predicted.shape != x0.shape:
            raise ValueError(f"model: expected output of shape {x0.shape}, got {predicted.shape}")
        target = noise if self.prediction == "eps" else self.velocity(x0, t, noise)
        if weighting == "simple":
            return ops.mse_loss(predicted, target)
        return (
            ops.mse_loss(predicted, target, reduction="none") * _per_picture(weights, t, x0)
        ).mean()

    def loss_weights(self, weighting: str) -> np.ndarray:
        """w_t (T,), the weight of step t's squared error of ε or v, as float64.

        The error of x_0 is that of ε over snr, and that of v over snr + 1.
        """
        snr = self.schedule.snr
        if weighting == "simple":
            return np.ones_like(snr)
        if weighting == "min_snr":
            return np.minimum(snr, 5) / (snr if self.prediction == "eps" else snr + 1)
        raise ValueError(f"weighting: expected 'simple' or 'min_snr', got {weighting!r}")

    def _signal_and_sigma(self, x, t, **other):
        """√ᾱ_t and √(1−ᾱ_t) for each picture, after a look at the arguments."""
        check_pictures(x, **other)
        both = self.schedule.signal_and_sigma(self._check_steps(t, x, "iuf"))
        return tuple(_like(x, a) for a in both)

    def _check_steps(self, t, x, kinds: str = "iu") -> np.ndarray:
        t, T = to_numpy(t), self.schedule.T
        if t.dtype.kind not in kinds or t.shape != x.shape[:1]:
            what = "integers" if kinds == "iu" else "numbers"
            raise ValueError(
                f"t: expected {len(x)} {what}, one per picture, got {t.dtype} of shape {t.shape}"
            )
        if t.size and not 0 <= t.min() <= t.max() <= T - 1:
            raise ValueError(f"t: expected steps in 0 … {T - 1}, got {t.min()} … {t.max()}")
        return t


def check_pictures(x, **others):
    """x, if it is a floating-point (N, ...) array and the others are of its shape and dtype."""
    if x.dtype.kind != "f" or x.ndim < 1:
        raise TypeError(
            "expected floating-point pictures (N, ...) in [−1, 1], "
            f"got {x.dtype} of shape {x.shape}"
        )
    for name, other in others.items():
        if other.shape != x.shape or other.dtype != x.dtype:
            raise ValueError(
                f"{name}: expected {x.dtype} of shape {x.shape} like the other picture, "
                f"got {other.dtype} of shape {other.shape}"
            )
    return x


def _per_picture(coefficients: np.ndarray, t: np.ndarray, x):
    """coefficients[t], looked up in float64, as an array of x's dtype that multiplies x."""
    return _like(x, coefficients[t])


def _like(x, numbers: np.ndarray):
    """(N,) as an array of x's dtype that multiplies x (N, ...)"""
    return asarray(numbers.reshape(-1, *[1] * (x.ndim - 1)), dtype=x.dtype)
