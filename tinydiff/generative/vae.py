"""The variational autoencoder: a code is decoded to a picture, and guessed by a second network.

    p(x) = ∫ p(x|z) N(z; 0, I) dz,     p(x|z) from the decoder: a logistic distribution a pixel
    q(z|x) = N(μ(x), σ²(x))                   from the encoder

The integral cannot be computed, but it is never less than the evidence lower bound, the loss, and
the gap is how far q is from the true p(z|x):

    ln p(x) ≥ E_q[ln p(x|z)] − KL(q(z|x) ‖ N(0, I)),       z = μ + σ ε,  ε ~ N(0, I)

Many z at once leave less of a gap, and this is what is reported as a likelihood:

    ln p(x) ≥ E ln 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x),      z_k ~ q

Sources: D. Kingma and M. Welling, "Auto-Encoding Variational Bayes", 2014, sections 2.3, 2.4 and
appendix B; Y. Burda et al., "Importance Weighted Autoencoders", 2016, section 3.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import randn, to_numpy, xp
from tinydiff.diffusion.likelihood import bits_per_dim
from tinydiff.generative import discretised_logistic
from tinydiff.generative.model import GenerativeModel
from tinydiff.models.posterior import DiagonalGaussian
from tinydiff.nn.checks import at_least_one
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor

DRAWS = 100  # K of the reported bound


class VAE(GenerativeModel):
    """encoder  (N, H, W, C) → (N, 2·latent): μ and ln σ² of the code
    decoder  (N, latent) → (N, H, W, 2C): mean and ln s of each pixel
    latent   how many numbers a code has
    """

    likelihood = "bound"

    def __init__(self, shape, encoder: nn.Module, decoder: nn.Module, latent: int):
        super().__init__(shape)
        at_least_one("VAE", latent=latent)
        self.encoder, self.decoder, self.latent = encoder, decoder, latent

    def loss(self, x) -> Tensor:
        """Minus the evidence lower bound, in bits per dimension."""
        x = self.pictures(x)
        q = self.encode(x)
        return bits_per_dim((q.kl() - self.log_p(x, q.sample())).mean(), self.size)

    def sample(self, count: int, *, rng: np.random.Generator | None = None):
        with no_grad():
            output = self.decoder(Tensor(randn((count, self.latent), rng=rng))).data
        mean, log_scale = xp.split(output, 2, axis=-1)
        return discretised_logistic.draw(mean, log_scale, rng=rng)

    def log_likelihood(self, x, *, rng: np.random.Generator | None = None) -> np.ndarray:
        x, weights = self.pictures(x), []
        with no_grad():
            q = self.encode(x)
            mean, log_var = q.mean.data, q.log_variance.data
            for _ in range(DRAWS):
                noise = randn(mean.shape, rng=rng, dtype=x.dtype)
                z = mean + xp.exp(0.5 * log_var) * noise
                log_ratio = 0.5 * (noise**2 + log_var - z**2).sum(axis=1)  # ln p(z)/q(z|x)
                weights.append(self.log_p(x, Tensor(z)).data + log_ratio)
            total = ops.logsumexp(Tensor(xp.stack(weights, axis=1).astype(np.float64)))
        return to_numpy(total.data) - math.log(DRAWS)

    def encode(self, x) -> DiagonalGaussian:
        """q(z|x), of codes (N, latent)"""
        return DiagonalGaussian(self.encoder(Tensor(x)))

    def log_p(self, x, z: Tensor) -> Tensor:
        """ln p(x|z) in nats, (N,)"""
        mean, log_scale = ops.split(self.decoder(z), 2, axis=-1)
        nats = discretised_logistic.log_probability(x, mean, log_scale)
        return nats.reshape(len(x), -1).sum(axis=1)
