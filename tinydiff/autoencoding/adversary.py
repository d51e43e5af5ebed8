"""An opponent that learns to tell reconstructions from pictures, and so what gives them away.

    the discriminator D learns   ½ (E[max(0, 1 − D(x))] + E[max(0, 1 + D(x̂))])
    the autoencoder learns       ω·a·g,    g = −E[D(x̂)]

Pixels and distances are indifferent to what is missing everywhere, grain and sharpness; D is not.
How much g counts is measured anew at each step, at the autoencoder's last layer W, where both
losses pull,

    a = ‖∂nll/∂W‖ / (‖∂g/∂W‖ + 10⁻⁴),    at most 10⁴

so that both pull as hard, and ω says how hard.  The opponent comes late: a reconstruction that is
still blurred everywhere is told apart by anyone, which teaches neither.

Sources: P. Esser et al., "Taming Transformers for High-Resolution Image Synthesis", 2021, equations
6 and 7; J. Lim and J. Ye, "Geometric GAN", 2017, section 3.2 (hinge).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral

from tinydiff import kernels, ops, optim
from tinydiff.backend import xp
from tinydiff.models import PatchDiscriminator
from tinydiff.tensor import Tensor, grad

SMALL, MOST = 1e-4, 1e4
BETAS = 0.5, 0.9


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½ (E[max(0, 1 − real)] + E[max(0, 1 + fake)]) of D's logits"""
    return 0.5 * (ops.relu(1 - real).mean() + ops.relu(1 + fake).mean())


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """−E[fake]"""
    return -fake.mean()


def adaptive_weight(nll: Tensor, g: Tensor, last: Tensor):
    """a, a number on the device, of two losses of one graph and a layer's weights both depend on.

    The graph is walked twice, as far as ``last``, and kept.
    """
    gradients = (grad(loss, last, retain_graph=True) for loss in (nll, g))
    a, b = (kernels.norm([gradient.reshape(-1)]) for gradient in gradients)
    return xp.minimum(a / (b + SMALL), MOST)


class Adversary:
    """Made of a discriminator, it learns at each step, and says its term of the autoencoder's loss.

    lr      the learning rate of its Adam
    start   steps before which it neither learns nor says anything
    weight  ω ≥ 0

    It has a state of its own, for `Trainer`'s ``states``.  It learns before the autoencoder does:
    where that step turns out not to be finite, the discriminator is a step ahead.
    """

    def __init__(
        self,
        discriminator: PatchDiscriminator,
        *,
        lr: float = 2e-4,
        start: int = 0,
        weight: float = 0.5,
    ):
        if not isinstance(start, Integral) or start < 0:
            raise ValueError(f"start: expected a number of steps ≥ 0, got {start!r}")
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight: expected a finite number ≥ 0, got {weight}")
        self.discriminator, self.start, self.weight = discriminator, start, weight
        self.optimiser = optim.Adam(discriminator.parameters(), lr=lr, betas=BETAS)
        self.steps = 0

    def term(self, nll: Tensor, x, x_hat: Tensor, last: Tensor) -> Tensor | float:
        """ω·a·g for reconstructions x_hat of pictures x; 0 before its time.

        nll, last  what a is measured with: the loss without it, and the last layer's weights
        """
        self.steps += 1
        if self.steps <= self.start:
            return 0.0
        self.learn(x, x_hat.data)
        self.discriminator.requires_grad_(False)  # its weights' gradients are not asked for now
        g = hinge_generator_loss(self.discriminator(x_hat))
        self.discriminator.requires_grad_(True)
        return g * (self.weight * adaptive_weight(nll, g, last))

    def learn(self, real, fake) -> None:
        """A step of the discriminator, on pictures and on reconstructions, arrays (N, H, W, C)."""
        self.discriminator.train()
        self.optimiser.zero_grad()
        hinge_discriminator_loss(self.discriminator(real), self.discriminator(fake)).backward()
        self.optimiser.step()

    def state_dict(self) -> dict:
        """Its steps, its discriminator, its optimiser."""
        return {
            "steps": self.steps,
            "discriminator": self.discriminator.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Take up a `state_dict`; raises ValueError if it does not fit."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = int(state["steps"])
