"""Gaussian diffusion: noise added to pictures, and the loss that teaches a network to see it.

    q(x_t | x_0) = N(√ᾱ_t x_0, (1−ᾱ_t) I)        x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε,   ε ~ N(0, I)
    q(x_{t−1} | x_t, x_0) = N(μ̃_t, β̃_t I)        p(x_{t−1} | x_t): the same with the network's x_0

The network sees x_t and predicts ε, or something else that says as much (`parametrisation`).  How
its errors are weighed is in `weights`, which steps it is shown in `timesteps`.

Source: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020, section 3.
"""

from __future__ import annotations

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.diffusion import parametrisation
from tinydiff.diffusion.conditioning import training_condition
from tinydiff.diffusion.learned_variance import (
    bound_in_bits,
    interpolated_log_variance,
    split_output,
)
from tinydiff.diffusion.parametrisation import check_pictures, check_prediction, column
from tinydiff.diffusion.schedule import NoiseSchedule
from tinydiff.diffusion.timesteps import LossAwareTimesteps, UniformTimesteps
from tinydiff.diffusion.weights import loss_weights
from tinydiff.tensor import Tensor

FAR = 16.0  # latents and points in a plane may leave [−1, 1], but not for here


class GaussianDiffusion:
    """The forward process of a schedule, its posterior, and Algorithm 1.

    schedule          the NoiseSchedule
    prediction        what the network predicts: "eps", "x0", "v", "score" or "flow"
    learned_variance  whether it predicts a variance too, with a second half of its channels

    Pictures x are floating-point backend arrays (N, ...) in [−1, 1]; t is an array (N,), a step in
    0 … T−1 for each picture, whole or, where nothing is said of t − 1, in between.  Results have
    the dtype of x.  Every method raises ValueError or TypeError for arrays that do not fit.
    """

    def __init__(
        self, schedule: NoiseSchedule, prediction: str = "eps", *, learned_variance: bool = False
    ):
        if not isinstance(schedule, NoiseSchedule):
            raise TypeError(f"schedule: expected a NoiseSchedule, got {schedule!r}")
        check_prediction(prediction)
        self.schedule = schedule
        self.prediction = prediction
        self.learned_variance = learned_variance

    def q_sample(self, x0, t, noise):
        """x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε: jump from the clean picture to step t at once."""
        check_pictures(x0, noise=noise)
        signal, sigma = self._signal_and_sigma(t, x0)
        return column(signal, x0) * x0 + column(sigma, x0) * noise

    def target(self, x0, t, noise):
        """What the network should answer when it is shown x_t."""
        check_pictures(x0, noise=noise)
        return parametrisation.target(self.prediction, x0, noise, *self._signal_and_sigma(t, x0))

    def to_x0(self, x_t, t, output):
        """x_0 according to the network's output for x_t (without its variance)."""
        return self._convert(parametrisation.to_x0, self.prediction, x_t, t, output=output)

    def to_eps(self, x_t, t, output):
        """ε according to the network's output for x_t (without its variance)."""
        return self._convert(parametrisation.to_eps, self.prediction, x_t, t, output=output)

    def predict_x0(self, x_t, t, eps):
        """x_0 = (x_t − √(1−ᾱ_t) ε) / √ᾱ_t, whatever the network predicts"""
        return self._convert(parametrisation.to_x0, "eps", x_t, t, eps=eps)

    def predict_eps(self, x_t, t, x0):
        """ε = (x_t − √ᾱ_t x_0) / √(1−ᾱ_t), whatever the network predicts"""
        return self._convert(parametrisation.to_eps, "x0", x_t, t, x0=x0)

    def q_posterior(self, x0, x_t, t):
        """Mean, variance and log variance of q(x_{t−1} | x_t, x_0) = N(μ̃_t, β̃_t I).

        The mean has the shape of x0, the others (N, 1, ..., 1).  At t = 0 the mean is x_0 and the
        variance 0; its logarithm is then that of step 1.
        """
        schedule = self.schedule
        check_pictures(x_t, x0=x0)
        t = self._check_steps(t, x_t)
        return (
            column(schedule.posterior_mean_coef1[t], x_t) * x0
            + column(schedule.posterior_mean_coef2[t], x_t) * x_t,
            column(schedule.posterior_variance[t], x_t),
            column(schedule.posterior_log_variance_clipped[t], x_t),
        )

    def split(self, x, output):
        """The network's output for x: its prediction, and v of `learned_variance`, or None."""
        if self.learned_variance:
            return split_output(output, x)
        if output.shape != x.shape:
            raise ValueError(f"model: expected output of shape {x.shape}, got {output.shape}")
        return output, None

    def p_mean_variance(self, x_t, t, output):
        """Mean and log variance of p(x_{t−1} | x_t) according to the network's whole output.

        The log variance is (N, 1, ..., 1), ln β̃_t as in `q_posterior`, or, if it is learned,
        like x_t.  Output and results may be Tensors.
        """
        return self._p(x_t, t, *self.split(x_t, output))

    def training_loss(
        self,
        model,
        x0,
        *,
        cond=None,
        drop: float = 0.1,
        weighting: str = "simple",
        timesteps: UniformTimesteps | LossAwareTimesteps | None = None,
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        """Algorithm 1: E[ w_t (target − model(x_t, t, cond))² ] with t ~ U{0 … T−1}, a scalar.

        The mean is over pictures and pixels.  A network that learns the variance gets L_hybrid
        (`learned_variance`): L_vlb/1000 is added.

        model      model(x, t, cond) -> Tensor of x's shape, or of twice its channels if it learns
                   the variance; t (N,) and cond are host integers
        cond       labels (N,) or tokens (N, M) for a conditional model; each becomes the null
                   condition with probability ``drop``, for classifier-free guidance
        weighting  w_t: "simple", which is 1, or another of `weights`
        timesteps  chooses t, by default all alike and evenly spread within a batch
        rng        draws t, then the noise, then the drops; the process's generator by default

        On the host, values that can only be bytes, beyond ±FAR, are refused too.
        """
        rng = backend.rng if rng is None else rng
        x0 = check_pictures(asarray(x0))
        if backend.name == "numpy" and not abs(x0).max() <= FAR:  # a GPU would have to wait
            raise ValueError(
                f"x0: expected pictures in [−1, 1], got {x0.min()} … {x0.max()}; "
                "tinydiff.images.to_float makes them of bytes"
            )
        weights = self.loss_weights(weighting)
        timesteps = UniformTimesteps(self.schedule.T) if timesteps is None else timesteps
        t, factors = timesteps.draw(len(x0), rng)
        noise = randn(x0.shape, rng=rng, dtype=x0.dtype)
        told = training_condition(model, cond, x0, drop, rng)

        x_t = self.q_sample(x0, t, noise)
        predicted, v = self.split(x_t, model(Tensor(x_t), t, told))
        squared = ops.mse_loss(predicted, self.target(x0, t, noise), reduction="none")
        losses = squared.reshape(len(x0), -1).mean(axis=1) * asarray(weights[t], x0.dtype)
        if v is not None:  # λ L_vlb = λ T E[L_t], which leaves the mean as it is
            q, p = self.q_posterior(x0, x_t, t), self._p(x_t, t, predicted.data, v)
            losses = losses + bound_in_bits(x0, t, q, p) * (self.schedule.T / 1000)
        timesteps.update(t, losses.data)
        return (losses * asarray(factors, x0.dtype)).mean()

    def loss_weights(self, weighting: str) -> np.ndarray:
        """w_t (T,), the weight of step t's squared error of the prediction, as float64."""
        return loss_weights(weighting, self.schedule, self.prediction)

    def _p(self, x_t, t, predicted, v):
        """Mean and log variance of p(x_{t−1} | x_t) from the two halves of an output"""
        mean, _, log_variance = self.q_posterior(self.to_x0(x_t, t, predicted), x_t, t)
        if v is not None:
            log_variance = interpolated_log_variance(self.schedule, to_numpy(t), v)
        return mean, log_variance

    def _convert(self, conversion, prediction: str, x_t, t, **known):
        check_pictures(x_t, **known)
        (y,) = known.values()
        return conversion(prediction, x_t, y, *self._signal_and_sigma(t, x_t))

    def _signal_and_sigma(self, t, x) -> tuple[np.ndarray, np.ndarray]:
        """√ᾱ_t and √(1−ᾱ_t) for each picture, on the host"""
        return self.schedule.signal_and_sigma(self._check_steps(t, x, "iuf"))

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
