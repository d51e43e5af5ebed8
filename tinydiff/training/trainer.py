"""The training loop: a generator that takes one step each time it is asked for a record.

    for record in trainer.run(until=10_000):
        print(record.step, record.loss)        # or log, draw, stop

A step depends on the weights, the optimiser, the random stream and the step's number, and all of
that is in `Trainer.state_dict`: a trainer that takes it up goes on with the same bits.  What the
caller does between steps, drawing random numbers included, does not change the training.

A GPU works on while the next steps are prepared: the trainer asks only now and then how they went
(``settled``: up to which step it knows), and goes back to the step before if one has gone wrong.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tinydiff import backend, kernels
from tinydiff.nn import Module
from tinydiff.optim import EMA, Optimiser, clip_grad_norm
from tinydiff.optim.schedule import Schedule
from tinydiff.team import team_of
from tinydiff.tensor import Tensor
from tinydiff.training.step import Step

_WATCHED = "loss", "gradient's norm"


class TrainingDiverged(ArithmeticError):
    """The loss or its gradient is no longer a finite number."""


class Trainer:
    """A model and all that it takes to train it.

    model      the Module; it is put into training mode at each step
    loss       loss(*batch) -> scalar Tensor.  Of the batch, arrays come as those of the backend;
               but labels, integers, and what is no array stay as they are, on the host, where
               looking at them costs nothing.  To `copy.deepcopy` the
               trainer, let it be one that is copied with the model it calls, such as
               functools.partial(f, model): a lambda stays with the old one
    batches    batches[i] is the batch of step i + 1: a `data.Batches`, or any such sequence of
               tuples, the first of whose entries is an array with one entry an image
    optimiser  made of the model's parameters
    schedule   step (from 0) -> learning rate; without it the optimiser keeps its own
    ema        the model's `EMA`, to be updated at each step
    clip       largest global norm of the gradient; None to leave it as it is
    states     by name, whatever else the loss remembers from step to step: objects that have
               ``state_dict()`` and ``load_state_dict(state)``
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Tensor],
        batches,
        optimiser: Optimiser,
        *,
        schedule: Schedule | None = None,
        ema: EMA | None = None,
        clip: float | None = None,
        states: Mapping | None = None,
    ):
        self.model, self.loss, self.batches, self.optimiser = model, loss, batches, optimiser
        self.schedule, self.ema, self.clip = schedule, ema, clip
        self.states = {} if states is None else dict(states)
        self.step = self.settled = 0
        self._team = team_of(model)
        self._random = None  # the training's own place in the random stream, once it began
        self._finite = kernels.Finite()
        self._unsettled: list[tuple[Step, dict]] = []  # and the random stream before each

    def run(self, until: int) -> Iterator[Step]:
        """Take steps until so many have been taken in all, and yield a record of each.

        Raises TrainingDiverged when the loss or the gradient is not finite, before the weights
        are touched: they are those of the step before.
        """
        while self.step < until:
            if self._random is not None:
                backend.rng.bit_generator.state = self._random
            before = backend.rng.bit_generator.state
            # BLAS is held to one thread once a step, which is cheaper than at every product.
            with kernels.single_threaded_blas, self._team:
                record = self._take_step()
            self.step += 1
            self._random = backend.rng.bit_generator.state
            self._unsettled.append((record, before))
            if self.step == until or self.step % self._finite.every == 0:
                began = time.perf_counter()
                self.settle()
                record.seconds += time.perf_counter() - began
            yield record

    def settle(self) -> None:
        """Wait until the steps taken are done; raises TrainingDiverged as `run` does."""
        self._look_for_divergence()
        self._accept()

    def _accept(self) -> None:
        for record, _ in self._unsettled:
            record.read()
        self._unsettled.clear()
        self.settled = self.step

    def state_dict(self) -> dict:
        """Everything the next steps depend on: step, weights, optimiser, EMA, random stream …"""
        self.settle()
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "random": self._random,
            "states": {name: other.state_dict() for name, other in self.states.items()},
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Take up a `state_dict`; raises ValueError if it does not fit."""
        expected = ("step", "model", "optimiser", "ema", "random")
        missing = [name for name in expected if name not in state]
        if missing:
            raise ValueError(f"load_state_dict: not a trainer's state: {missing} missing")
        if (state["ema"] is None) != (self.ema is None):
            has, lacks = ("state", "trainer") if self.ema is None else ("trainer", "state")
            raise ValueError(f"load_state_dict: the {has} has an EMA, the {lacks} has not")
        states = state.get("states", {})  # checkpoints before there were any have none
        if states.keys() != self.states.keys():
            raise ValueError(
                f"load_state_dict: states: got {sorted(states)}, expected {sorted(self.states)}"
            )
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        for name, other in self.states.items():
            other.load_state_dict(states[name])
        self.step = self.settled = state["step"]
        self._random = state["random"]

    def _take_step(self) -> Step:
        began = time.perf_counter()
        batch = self.batches[self.step]
        if self.schedule is not None:
            self.optimiser.lr = self.schedule(self.step)
        self.model.train()
        self.optimiser.zero_grad()
        with backend.memory_for(len(batch[0])):
            loss = self.loss(*map(_on_device, batch))
            self._check("loss", loss.data)
            loss.backward()
        norm = clip_grad_norm(self.optimiser, math.inf if self.clip is None else self.clip)
        self._check("gradient's norm", norm)
        self.optimiser.step(self._finite.stop)
        if self.ema is not None:
            self.ema.update(self._finite.stop)
        return Step(
            step=self.step + 1,
            loss=loss.data,
            grad_norm=norm,
            lr=self.optimiser.lr,
            images=len(batch[0]),
            seconds=time.perf_counter() - began,
        )

    def _check(self, what: str, value) -> None:
        self._finite.look(value, _WATCHED.index(what), self.step + 1)
        if self._finite.stop is None:
            self._look_for_divergence()

    def _look_for_divergence(self) -> None:
        """Raise TrainingDiverged if there is a reason to, after going back to the step before."""
        found = self._finite.found()
        if found is None:
            return
        step, what, value = found
        self._finite = kernels.Finite()
        after = self.step - (step - 1)  # so many steps, the bad one included, changed no weights
        if after:
            self._random = self._unsettled[-after][1]
            self.optimiser.steps -= after
            if self.ema is not None:
                self.ema.updates -= after
            self.step = step - 1
            del self._unsettled[-after:]
        self._accept()
        raise TrainingDiverged(
            f"step {step}: the {_WATCHED[what]} is {value}; the weights are still those of step "
            f"{step - 1} (try a smaller learning rate, a warm-up, or clip=1.0)"
        )


def _on_device(entry):
    array = isinstance(entry, (np.ndarray, backend.xp.ndarray)) and entry.dtype.kind not in "iu"
    return backend.asarray(entry) if array else entry
