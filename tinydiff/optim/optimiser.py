"""What all optimisers share: the flat parameters, the step count, the state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.nn.state import fill
from tinydiff.optim.flat import flatten
from tinydiff.tensor import Tensor


class Optimiser:
    """Subclasses keep flat arrays from `_buffer` and define `_update`.

    parameters  tensors to learn, such as model.parameters(); frozen ones are left out
    lr          the learning rate, an attribute to be set before any step
    steps       how many steps were taken
    """

    _settings: tuple[str, ...] = ("lr",)  # attributes that belong to the state

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float):
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{type(self).__name__}: {name} is {value}, expected ≥ 0")
        self.flat = flatten(parameters)
        self.lr, self.weight_decay = lr, weight_decay
        self.steps = 0
        self._buffers = {}

    def zero_grad(self) -> None:
        """Forget all gradients: ``grad`` is None until the next `backward`."""
        for p in self.flat.parameters:
            p.grad = None

    def step(self, unless=None) -> None:
        """Change the parameters according to their gradients.

        unless  an integer on the device, a 0-d array: where it is not 0, they stay as they are
        """
        for i, p in enumerate(self.flat.parameters):
            if not p.requires_grad:
                raise ValueError(
                    f"{type(self).__name__}: parameters[{i}], of shape {p.shape}, was frozen after "
                    "this optimiser was made; make a new one of the parameters left to learn"
                )
        self.flat.gather()
        self.steps += 1
        self._update(self.flat.data, self.flat.grad, unless)

    def state_dict(self) -> dict:
        """All that a later `step` depends on besides the parameters: numbers and host arrays."""
        return {
            "optimiser": type(self).__name__,
            "steps": self.steps,
            "settings": {name: getattr(self, name) for name in self._settings},
            "buffers": {k: np.array(backend.to_numpy(a)) for k, a in self._buffers.items()},
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Take up a `state_dict`, settings included.

        Raises ValueError if it is another optimiser's or does not fit the parameters; then nothing
        has been changed.
        """
        kind = type(self).__name__
        if state.get("optimiser") != kind:
            raise ValueError(
                f"load_state_dict: the state is of {state.get('optimiser')!r}, not of {kind}"
            )
        steps, settings = int(state["steps"]), {k: state["settings"][k] for k in self._settings}
        fill(kind, self._buffers, state["buffers"])
        self.steps = steps
        vars(self).update(settings)

    def _buffer(self, name: str):
        """A flat array of zeros, one number for each of the parameters', kept in the state."""
        # Unlike zeros_like, zeros takes no memory before it is written to: helpers that are forked
        # from here in the meantime (see tinydiff/team) will not have a copy of their own.
        self._buffers[name] = xp.zeros(self.flat.data.shape, self.flat.data.dtype)
        return self._buffers[name]

    def _update(self, theta, grad, unless) -> None:
        raise NotImplementedError
