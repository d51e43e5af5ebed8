"""EDM: a network dressed so that what goes in and what it learns have the same size at any noise.

    D(x; σ) = c_skip x + c_out F(c_in x; c_noise)        x = x_0 + σ n,   n ~ N(0, I)

    c_skip = σ_d²/(σ² + σ_d²)        c_in    = 1/√(σ² + σ_d²)
    c_out  = σ σ_d/√(σ² + σ_d²)      c_noise = ln(σ)/4

F sees x at variance 1.  With little noise D is nearly x and F has to say how the noise looks;
with much, F has to say the picture.  c_out is chosen as small as possible, so that errors of F
count least, and the weight so that all noise levels begin alike:

    L = E[ λ(σ) (D(x; σ) − x_0)² ],        λ = 1/c_out² = (σ² + σ_d²)/(σ σ_d)²
      = E[ (F − (x_0 − c_skip x)/c_out)² ] = E[ (F − (σ x_0/σ_d − σ_d n)/√(σ² + σ_d²))² ]

In c_in x, the picture x_0/σ_d has the share α = σ_d c_in and n the share σ c_in, and so F predicts
their −v (`tinydiff.diffusion.parametrisation`).  It learns at ln σ ~ N(−1.2, 1.2²): between noise
that cannot be seen and noise that hides everything.

Source: T. Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models",
2022, section 5, table 1 and appendix B.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.diffusion.conditioning import training_condition
from tinydiff.diffusion.denoiser import predictor
from tinydiff.diffusion.parametrisation import check_pictures, column, to_eps
from tinydiff.diffusion.schedule import NoiseSchedule
from tinydiff.tensor import Tensor


class EDM:
    """The preconditioning and its loss.

    sigma_data         σ_d, the standard deviation of the pictures
    log_mean, log_std  of the σ that are trained

    Pictures are floating-point backend arrays (N, ...) in [−1, 1], σ host numbers (N,) > 0.
    Networks are called as model(c_in x, c_noise, cond).
    """

    def __init__(self, sigma_data: float = 0.5, log_mean: float = -1.2, log_std: float = 1.2):
        for name, value in (("sigma_data", sigma_data), ("log_std", log_std)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: expected a finite number > 0, got {value}")
        if not math.isfinite(log_mean):
            raise ValueError(f"log_mean: expected a finite number, got {log_mean}")
        self.sigma_data, self.log_mean, self.log_std = sigma_data, log_mean, log_std

    def scalings(self, sigma) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """c_skip, c_out, c_in, c_noise (N,), float64; raises ValueError unless all σ > 0."""
        sigma = np.asarray(to_numpy(sigma), np.float64)
        if not np.all((sigma > 0) & np.isfinite(sigma)):
            raise ValueError(f"sigma: expected finite numbers > 0, got {sigma}")
        both = np.hypot(sigma, self.sigma_data)
        return (
            (self.sigma_data / both) ** 2,
            sigma * self.sigma_data / both,
            1 / both,
            np.log(sigma) / 4,
        )

    def training_loss(
        self,
        model,
        x0,
        *,
        cond=None,
        drop: float = 0.1,
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        """L, a scalar: the mean over pictures and pixels.

        cond, drop  labels or tokens, and how often they are left out, as in `GaussianDiffusion`
        rng         draws σ, then the noise, then the drops; the process's generator by default
        """
        rng = backend.rng if rng is None else rng
        x0 = check_pictures(asarray(x0))
        sigma = np.exp(self.log_mean + self.log_std * rng.standard_normal(len(x0)))
        noise = randn(x0.shape, rng=rng, dtype=x0.dtype)
        told = training_condition(model, cond, x0, drop, rng)
        _, _, c_in, c_noise = self.scalings(sigma)
        x = x0 + column(sigma, x0) * noise
        target = (
            column(sigma * c_in / self.sigma_data, x0) * x0
            - column(self.sigma_data * c_in, x0) * noise
        )
        said = model(Tensor(column(c_in, x) * x), c_noise, told)
        if said.shape != x0.shape:
            raise ValueError(f"model: expected output of shape {x0.shape}, got {said.shape}")
        return ops.mse_loss(said, target)

    def denoised(self, model, cond=None) -> Callable:
        """D(x, sigma) -> x_0: the mean of the pictures that x = x_0 + σ n may come from.

        Backend arrays (N, ...), σ (N,) on the host; model and cond as in `denoiser`.
        """
        predict = predictor(model, cond)

        def D(x, sigma):
            c_skip, c_out, c_in, c_noise = self.scalings(sigma)
            said = predict(column(c_in, x) * x, c_noise)
            return column(c_skip, x) * x + column(c_out, x) * said

        return D

    def denoiser(self, model, schedule: NoiseSchedule, cond=None) -> Callable:
        """denoise(x, t) -> eps for samplers that walk along ``schedule``, as `denoiser`.

        x_t = √ᾱ x_0 + √(1−ᾱ) ε is EDM's x at the level σ = √(1−ᾱ)/√ᾱ, times √ᾱ.
        """
        D = self.denoised(model, cond)

        def denoise(x, t):
            alpha, sigma = schedule.signal_and_sigma(t)
            x0 = D(x * column(1 / alpha, x), sigma / alpha)
            return to_eps("x0", x, x0, alpha, sigma)

        return denoise
