"""The diffusion model: pictures are led to noise in many small steps, and a network undoes them.

    x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε,          loss: E‖v − v_θ(x_t, t)‖²,   v = √ᾱ_t ε − √(1−ᾱ_t) x_0
    −ln p(x_0) ≤ L_T + Σ L_{t−1} + L_0      the variational bound

All of it is in `tinydiff.diffusion`; here it stands beside the others.

Sources: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020; T. Salimans and J. Ho,
"Progressive Distillation for Fast Sampling of Diffusion Models", 2022 (v).
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import nn
from tinydiff.backend import randn
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule, denoiser, sample_ddpm
from tinydiff.diffusion.likelihood import estimated_bound
from tinydiff.generative.model import GenerativeModel
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor

DRAWS = 50  # steps looked at for the bound of a picture


class DiffusionModel(GenerativeModel):
    """network   called as network(x, t): v of each picture x (N, H, W, C) at its t (N,)
    schedule  the NoiseSchedule
    steps     of DDPM, to draw a picture
    """

    likelihood = "bound"

    def __init__(self, shape, network: nn.Module, schedule: NoiseSchedule, steps: int):
        super().__init__(shape)
        at_least_one("DiffusionModel", steps=steps)
        self.network, self.evaluations = network, steps
        self.process = GaussianDiffusion(schedule, "v")

    def loss(self, x) -> Tensor:
        return self.process.training_loss(self.network, self.pictures(x))

    def sample(self, count: int, *, rng: np.random.Generator | None = None):
        denoise = denoiser(self.network, self.process)
        noise = randn((count, *self.shape), rng=rng)
        schedule, steps = self.process.schedule, self.evaluations
        *_, x = sample_ddpm(denoise, noise, schedule, steps=steps, rng=rng)
        return x

    def log_likelihood(self, x, *, rng: np.random.Generator | None = None) -> np.ndarray:
        """Estimated at random t: for one picture that is rough, on average it is the bound."""
        bits = estimated_bound(self.network, self.process, self.pictures(x), draws=DRAWS, rng=rng)
        return -bits.mean(axis=1) * math.log(2) * self.size
