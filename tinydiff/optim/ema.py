"""EMA: an exponential moving average of the weights, which samples better than the last ones.

    a ← d·a + (1 − d)·θ,    d = min(decay, (1 + t)/(10 + t))  at update t = 0, 1, 2 …

The second term is a warm-up: without it the average would remember the random initial weights for
some 1/(1 − decay) steps.  Only what is learned is averaged, not buffers.

Source: B. Polyak and A. Juditsky, 1992; J. Ho et al., 2020, appendix B (decay 0.9999).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np

from tinydiff import backend, kernels
from tinydiff.nn.module import Module
from tinydiff.nn.state import fill
from tinydiff.optim.flat import flatten


class EMA:
    """The average of a model's learned parameters; call `update` after each optimiser step."""

    def __init__(self, model: Module, decay: float = 0.9999):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay is {decay}, expected 0 ≤ decay < 1")
        self.decay = decay
        self.updates = 0
        self.flat = flatten(model.parameters())
        self.average = self.flat.data.copy()
        names = {parameter: name for name, parameter in model.named_parameters()}
        self._names = [names[parameter] for parameter in self.flat.parameters]

    def update(self, unless=None) -> None:
        """Take the present weights into the average (``unless`` is as in `Optimiser.step`)."""
        self.flat.gather()
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        kernels.move_towards(self.average, self.flat.data, 1 - decay, unless)
        self.updates += 1

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """``with ema.swapped():`` the model has the averaged weights; afterwards its own again."""
        self.flat.gather()
        own = self.flat.data.copy()
        self.flat.data[...] = self.average
        try:
            yield
        finally:
            self.flat.data[...] = own

    @property
    def _weights(self) -> dict:
        """Views of the average, named as in the model's state dict"""
        return dict(zip(self._names, self.flat.split(self.average), strict=True))

    def state_dict(self) -> dict:
        """The averaged weights, named as in the model's state dict, and the number of updates.

        ``model.load_state_dict(model.state_dict() | ema.state_dict()["weights"])`` makes the
        averaged weights the model's own.
        """
        weights = {k: np.array(backend.to_numpy(a)) for k, a in self._weights.items()}
        return {"updates": self.updates, "weights": weights}

    def load_state_dict(self, state: Mapping) -> None:
        """Take up a `state_dict`; ValueError, and no change, if it does not fit the model."""
        fill("EMA", self._weights, state["weights"])
        self.updates = int(state["updates"])
