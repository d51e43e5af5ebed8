"""A run from its beginning, or where it was stopped, to its end: what most examples do with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from tinydiff.tensor import Tensor
from tinydiff.training.recipe import one_cycle_trainer
from tinydiff.training.run import train
from tinydiff.training.summary import minutes, save_loss
from tinydiff.training.trained import Trained


def complete(
    made: Trained,
    loss: Callable[..., Tensor],
    batches,
    folder: str | os.PathLike,
    *,
    title: str | None,
    averaged: float = 5,
    clip: float | None = 1.0,
    states: Mapping | None = None,
) -> float:
    """`train` the network of ``made`` in ``folder`` to its end, by `one_cycle_trainer`, and return
    how many minutes it took in all.

    made            its ``settings`` are the run's: the recipe's are "lr", "steps" and "batch"
    title           of the curve in loss.png, which is written beside the log; None: there is none
    averaged, clip, states  as of `one_cycle_trainer` and `Trainer`

    Raises as `train`, `one_cycle_trainer` and `save_loss` do.
    """
    settings = made.settings
    recipe = {"lr": settings["lr"], "steps": settings["steps"], "averaged": averaged, "clip": clip}
    trainer = one_cycle_trainer(made.model, loss, batches, states=states, **recipe)
    for _ in train(trainer, settings["steps"], folder, settings=settings):
        pass
    if title is not None:
        save_loss(folder, title)
    return minutes(folder, settings["batch"])
