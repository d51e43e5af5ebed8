"""The generative adversarial network: one network draws, another tells that from what is real.

    D(x) = σ(c(x)),  c the critic;       G(z), z ~ N(0, I), the generator

    critic       max  E ln D(x) + E ln(1 − D(G(z)))          the best: D = p/(p + p_G)
    generator    max  E ln D(G(z))                            "non-saturating"

With the best critic the first is 2 JS(p, p_G) − 2 ln 2, least where p_G = p.  Pictures lie on so
thin a sheet of all there could be that a critic may tell the two apart with no error, and then it
teaches nothing.  So both are seen through the same noise N(0, σ²): now they overlap, and as no two
distributions look alike through it, the optimum stays where it was.

Both take a step at the same time: each loss is blind to the other's weights, so that the gradient
of their sum is what each of them wants.

Sources: I. Goodfellow et al., "Generative Adversarial Nets", 2014, sections 3 and 4; M. Arjovsky
and L. Bottou, "Towards Principled Methods for Training Generative Adversarial Networks", 2017,
section 3 (noise).
"""

from __future__ import annotations

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import randn
from tinydiff.generative.model import GenerativeModel
from tinydiff.nn.checks import at_least_one
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor


class GAN(GenerativeModel):
    """generator  (N, latent) → (N, H, W, C), of which tanh is the picture
    critic     (N, H, W, C) → (N, 1), the logit of D
    noise      σ of the noise through which the critic sees
    """

    def __init__(self, shape, generator: nn.Module, critic: nn.Module, latent: int, noise: float):
        super().__init__(shape)
        at_least_one("GAN", latent=latent)
        if not noise >= 0:
            raise ValueError(f"GAN: noise is {noise}, expected a number ≥ 0")
        self.generator, self.critic = generator, critic
        self.latent, self.noise = latent, noise

    def loss(self, x) -> Tensor:
        """The critic's loss, whose gradient is the critic's, and the generator's, in one."""
        x = self.pictures(x)
        drawn = self.draw(randn((len(x), self.latent), dtype=x.dtype))
        with nn.frozen(self.critic):
            for_generator = generator_loss(self.critic(self.noisy(drawn)))
        real, fake = self.noisy(Tensor(x)), self.noisy(drawn.detach())
        return critic_loss(self.critic(real), self.critic(fake)) + for_generator

    def sample(self, count: int, *, rng: np.random.Generator | None = None):
        with no_grad():
            return self.draw(randn((count, self.latent), rng=rng)).data

    def draw(self, z) -> Tensor:
        """G(z): (N, latent) → (N, H, W, C)"""
        return ops.tanh(self.generator(Tensor(z)))

    def noisy(self, x: Tensor) -> Tensor:
        return x + self.noise * randn(x.shape, dtype=x.dtype)


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """−E ln D(x) − E ln(1 − D(G(z))), of the critic's logits"""
    return ops.softplus(-real).mean() + ops.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """−E ln D(G(z)), of the critic's logits"""
    return ops.softplus(-fake).mean()
