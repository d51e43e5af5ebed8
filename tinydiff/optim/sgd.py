"""Stochastic gradient descent, with momentum.

    g' = g + λθ,    u ← μu + g',    θ ← θ − lr·u        (Nesterov: θ − lr·(g' + μu))

Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning",
ICML 2013, in PyTorch's form, where the learning rate stands outside the velocity.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinydiff import kernels
from tinydiff.optim.optimiser import Optimiser
from tinydiff.tensor import Tensor


class SGD(Optimiser):
    """momentum μ; weight_decay λ, a gradient of ½λ‖θ‖²."""

    _settings = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"SGD: momentum is {momentum}, expected 0 ≤ momentum < 1")
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov needs a momentum > 0")
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov
        self._velocity = self._buffer("velocity") if momentum else None

    def _update(self, theta, grad, unless) -> None:
        kernels.sgd(
            theta,
            grad,
            self._velocity,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            unless=unless,
        )
