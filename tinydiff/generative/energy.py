"""The energy-based model: a network says how unlikely a picture is; downhill are likely ones.

    P(x) = e^{−E(x)} / Z,       Z = Σ e^{−E(x)} over all pictures, which nobody can compute

(but in the plane, where there are only 256² of them).  Neither drawing nor learning needs Z.
Langevin's walk ends up spread as P, for small steps λ:

    x ← x − λ ∂E/∂x + √(2λ) ξ,      ξ ~ N(0, I)

and the gradient of ln P pushes E down at real pictures, and up at those that the model draws:

    ∂ ln P(x)/∂θ = −∂E(x)/∂θ + E_{x⁻~P} ∂E(x⁻)/∂θ

Walks are long, so training goes on with those of before: a buffer keeps where they have come to,
and one in twenty begins anew.  A penalty on E² keeps energies near 0.  With less noise than √(2λ)
the walk is that of E/T, T = noise²/2λ, and so is the model: pictures train in minutes only so.

Sources: Y. Du and I. Mordatch, "Implicit Generation and Modeling with Energy-Based Models", 2019,
sections 3.1 to 3.3; M. Welling and Y. W. Teh, "Bayesian Learning via Stochastic Gradient Langevin
Dynamics", 2011.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinydiff import backend, kernels, nn, ops
from tinydiff.backend import rand, randn, to_numpy, xp
from tinydiff.generative.model import GenerativeModel
from tinydiff.nn.checks import at_least_one
from tinydiff.recording import no_grad, recording
from tinydiff.tensor import Tensor, grad

KEPT = 2048  # walks in the buffer
ANEW = 0.05  # the share of walks that begin again


class EnergyModel(GenerativeModel):
    """energy    (N, H, W, C) → (N, 1): E
    walk      settings of `langevin` but for its steps: step, noise
    training  steps of the walk at each step of training
    drawing   steps of the walk from noise to a picture
    penalty   how much of E² is added to the loss
    """

    def __init__(
        self, shape, energy: nn.Module, walk: dict, training: int, drawing: int, penalty: float
    ):
        super().__init__(shape)
        at_least_one("EnergyModel", training=training, drawing=drawing)
        if walk.keys() != {"step", "noise"} or not min(walk.values()) > 0:
            raise ValueError(f"EnergyModel: walk is {walk}, expected a step and a noise > 0")
        self.energy, self.walk, self.penalty = energy, dict(walk), penalty
        self.walked, self.evaluations = training, drawing
        self.likelihood = "exact" if self.size <= 2 else None
        self.register_buffer("buffer", self.start(KEPT))

    def loss(self, x) -> Tensor:
        """E(x) − E(x⁻) + penalty·(E(x)² + E(x⁻)²), means over the batch

        A real picture gets the noise of one step of the walk: without it, that would tell.
        """
        x = self.pictures(x)
        real = self.energy(Tensor(x + self.walk["noise"] * randn(x.shape, dtype=x.dtype)))
        drawn = self.energy(Tensor(self.go_on(len(x))))
        size = (real * real).mean() + (drawn * drawn).mean()
        return real.mean() - drawn.mean() + self.penalty * size

    def sample(self, count: int, *, rng: np.random.Generator | None = None):
        return self.walked_from(self.start(count, rng), self.evaluations, rng)

    def log_likelihood(self, x, *, rng: np.random.Generator | None = None) -> np.ndarray:
        """−E/T − ln Z, where all pictures can be counted: of one number or two."""
        if self.likelihood is None:
            return super().log_likelihood(x, rng=rng)
        grey = np.linspace(-1, 1, 256, dtype=np.float32)
        every = np.stack(np.meshgrid(*[grey] * self.size), axis=-1).reshape(-1, *self.shape)
        temperature = self.walk["noise"] ** 2 / (2 * self.walk["step"])
        with no_grad():
            cold, all_cold = (
                self.energy(Tensor(self.pictures(y))).data[:, 0].astype(np.float64) / -temperature
                for y in (x, every)
            )
            return to_numpy(cold - ops.logsumexp(Tensor(all_cold)).data)

    def start(self, count: int, rng: np.random.Generator | None = None):
        """Where walks begin: numbers drawn evenly from [−1, 1)"""
        return 2 * rand((count, *self.shape), rng=rng) - 1

    def go_on(self, count: int):
        """``count`` walks of the buffer, a few of them begun anew, some steps further on"""
        chosen = backend.rng.choice(len(self.buffer), count, replace=False)
        x = self.buffer[backend.asarray(chosen)]
        fresh = backend.rng.random(count) < ANEW
        x = xp.where(backend.asarray(fresh)[:, None, None, None], self.start(count), x)
        x = self.walked_from(x, self.walked)
        self.buffer[backend.asarray(chosen)] = x
        return x

    def walked_from(self, x, steps: int, rng: np.random.Generator | None = None):
        with kernels.single_threaded_blas, nn.frozen(self.energy):
            return [x, *langevin(self.energy, x, **self.walk, steps=steps, rng=rng)][-1]


def langevin(
    energy: Callable,
    x,
    *,
    step: float,
    noise: float,
    steps: int,
    rng: np.random.Generator | None = None,
):
    """A generator of x after each step: x ← x − step · ∂E/∂x + noise · ξ, kept within ±1.5

    energy  Tensor (N, …) → Tensor (N, 1) of the energies; x an array (N, …)
    """
    for _ in range(steps):
        with recording():
            here = Tensor(x, requires_grad=True)
            slope = grad(energy(here).sum(), here)
        x = xp.clip(x - step * slope + noise * randn(x.shape, rng=rng, dtype=x.dtype), -1.5, 1.5)
        yield x
