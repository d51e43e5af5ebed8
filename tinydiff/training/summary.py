"""What a run's log tells when the run is over: how long it took, and its loss as a curve."""

from __future__ import annotations

import os
from pathlib import Path

from tinydiff import plots
from tinydiff.training.log import read_log
from tinydiff.training.run import LOG


def minutes(folder: str | os.PathLike, batch: int) -> float:
    """How long the steps of the run in ``folder``, of ``batch`` images each, took in all.

    Those before it was stopped and gone on with count, what was drawn in between does not.
    Raises FileNotFoundError if there is no run.
    """
    log = read_log(Path(folder) / LOG)
    return sum(batch / record["images_per_second"] for record in log) / 60


def save_loss(folder: str | os.PathLike, title: str) -> None:
    """Write the loss at each step of the run in ``folder`` as a curve, loss.png, beside its log.

    Raises FileNotFoundError if there is no run, ImportError as `plots.require`.
    """
    losses = [record["loss"] for record in read_log(Path(folder) / LOG)]
    plots.save_curves(Path(folder) / "loss.png", {"loss": losses}, title=title)
