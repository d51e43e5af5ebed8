"""Which steps t a training batch learns from.

    L = Σ_t L_t / T = E_{t ~ p}[ L_t / (T p_t) ]        for any p that is nowhere 0

`UniformTimesteps` takes p_t = 1/T.  `LossAwareTimesteps` visits often what the loss is made of,

    p_t ∝ √E[L_t²]

which makes the estimate of L least noisy; the factors 1/(T p_t) keep its expectation what it was.
Both spread the steps of one batch evenly over p from a common random start: each t is drawn from p
by itself, yet no batch is all easy or all hard.

Sources: A. Nichol and P. Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021,
section 3.3; D. Kingma et al., "Variational Diffusion Models", 2021, appendix I.1 (evenly spread).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydiff.backend import to_numpy
from tinydiff.diffusion.schedule import positive_int


class UniformTimesteps:
    """Every one of T steps alike."""

    def __init__(self, T: int):
        self.T = positive_int("T", T)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """``count`` steps t in 0 … T−1 and the factor of each one's loss, both (count,)."""
        t = (rng.integers(self.T) + np.arange(count) * self.T // count) % self.T
        return t, np.ones(count)

    def update(self, t: np.ndarray, losses) -> None:
        """Take note of the losses (N,) at steps t: nothing to learn here."""


class LossAwareTimesteps:
    """Steps in proportion to the root mean square of their last losses.

    T        the number of steps
    history  how many losses are remembered of each; until there are so many of all, all are alike
    uniform  the share of draws in which all are alike: no step is ever forgotten

    What it remembers belongs to a training run: give it to the Trainer (``states=``), and a
    resumed run draws the same steps.  Losses are read when next steps are drawn, for which a GPU
    has to finish the step before.
    """

    def __init__(self, T: int, *, history: int = 10, uniform: float = 0.001):
        if not 0 < uniform <= 1:
            raise ValueError(f"uniform: expected a share in (0, 1], got {uniform}")
        self.T, self.uniform = positive_int("T", T), uniform
        self._losses = np.zeros((self.T, positive_int("history", history)))  # latest last
        self._counts = np.zeros(self.T, np.int64)
        self._unread: list[tuple[np.ndarray, object]] = []

    def probabilities(self) -> np.ndarray:
        """p (T,), in float64."""
        self._read()
        size = np.sqrt((self._losses**2).mean(axis=1))
        if self._counts.min() < self._losses.shape[1] or not size.any():
            return np.full(self.T, 1 / self.T)
        return (1 - self.uniform) * size / size.sum() + self.uniform / self.T

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """``count`` steps t in 0 … T−1 and the factor 1/(T p_t) of each one's loss."""
        p = self.probabilities()
        places = (rng.random() + np.arange(count)) / count
        t = np.searchsorted(np.cumsum(p[:-1]), places, side="right")
        return t, 1 / (self.T * p[t])

    def update(self, t: np.ndarray, losses) -> None:
        """Take note of the losses (N,), of the backend and without their factors, at steps t."""
        self._unread.append((t, losses))

    def state_dict(self) -> dict:
        """What is remembered, for a checkpoint."""
        self._read()
        return {"losses": self._losses.copy(), "counts": self._counts.copy()}

    def load_state_dict(self, state: Mapping) -> None:
        """Take up a `state_dict`; raises ValueError if it is of other sizes."""
        for name, own in (("losses", self._losses), ("counts", self._counts)):
            if np.shape(state.get(name)) != own.shape:
                raise ValueError(
                    f"load_state_dict: {name} has shape {np.shape(state.get(name))}, "
                    f"expected {own.shape}"
                )
        self._losses, self._counts = state["losses"].copy(), state["counts"].copy()
        self._unread.clear()

    def _read(self) -> None:
        for steps, losses in self._unread:
            # One at a time: a batch may hold a step twice.  A loss that is not finite is the
            # Trainer's business, and undone.
            for t, loss in zip(steps, to_numpy(losses), strict=True):
                if np.isfinite(loss):
                    self._losses[t] = np.append(self._losses[t, 1:], loss)
                    self._counts[t] = min(self._counts[t] + 1, self._losses.shape[1])
        self._unread.clear()
