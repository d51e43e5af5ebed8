"""Adam and AdamW: steps of a size that does not depend on the gradient's.

    m ← β₁m + (1−β₁)g,    v ← β₂v + (1−β₂)g²,    θ ← θ − lr · m̂ / (√v̂ + ε)

m and v begin at zero, which m̂ = m/(1−β₁ᵗ) and v̂ = v/(1−β₂ᵗ) make up for.  Both corrections can be
moved out of the vectors:  lr·m̂/(√v̂ + ε) = (lr·√c/(1−β₁ᵗ)) · m/(√v + ε√c)  with c = 1−β₂ᵗ.

Weight decay λ is a gradient λθ in Adam, and in AdamW shrinks θ directly by 1 − lr·λ.

Sources: D. Kingma and J. Ba, "Adam", 2015, section 2; I. Loshchilov and F. Hutter, "Decoupled
weight decay regularization", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tinydiff import kernels
from tinydiff.optim.optimiser import Optimiser
from tinydiff.tensor import Tensor


class Adam(Optimiser):
    """betas (β₁, β₂), eps ε, weight_decay λ."""

    _settings = ("lr", "betas", "eps", "weight_decay")
    _decoupled = False

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        name = type(self).__name__
        if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
            raise ValueError(f"{name}: betas are {betas}, expected two numbers in 0 ≤ β < 1")
        if not eps > 0:
            raise ValueError(f"{name}: eps is {eps}, expected > 0")
        super().__init__(parameters, lr, weight_decay)
        self.betas, self.eps = tuple(betas), eps
        self._mean, self._square = self._buffer("mean"), self._buffer("square")

    def _update(self, theta, grad, unless) -> None:
        started1, started2 = (1 - beta**self.steps for beta in self.betas)
        kernels.adam(
            theta,
            grad,
            self._mean,
            self._square,
            rate=self.lr * math.sqrt(started2) / started1,
            betas=self.betas,
            eps=self.eps * math.sqrt(started2),
            l2=0.0 if self._decoupled else self.weight_decay,
            shrink=1 - self.lr * self.weight_decay if self._decoupled else 1.0,
            unless=unless,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    _decoupled = True

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay)
