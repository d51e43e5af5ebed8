"""A training run in a folder: checkpoints, a log, a progress bar, Ctrl-C; and going on later.

    for record in train(trainer, 10_000, "runs/digits", settings={"width": 64, "lr": 2e-3}):
        if record.step % 1000 == 0:
            draw_samples()

The same call again goes on where the folder's checkpoint is, however the process ended.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import TypeVar

from tinydiff import backend
from tinydiff.files import remove_leftovers
from tinydiff.training import checkpoint
from tinydiff.training.interrupt import Interrupt
from tinydiff.training.log import Log
from tinydiff.training.progress import Progress
from tinydiff.training.step import Step
from tinydiff.training.trainer import Trainer, TrainingDiverged

CHECKPOINT, LOG = "checkpoint.npz", "log.jsonl"

Whole = TypeVar("Whole")


class TrainingStopped(SystemExit):
    """Ctrl-C, after all is saved.  If nobody catches it, Python prints its text and ends."""


class HalfTrained(ValueError):
    """A run that has not come to its end, where a finished one is needed."""


def train(
    trainer: Trainer,
    steps: int,
    folder: str | os.PathLike,
    *,
    settings: Mapping | None = None,
    save_every: int = 100,
) -> Iterator[Step]:
    """Train until ``steps`` steps have been taken, and yield a record of each.

    In ``folder`` it keeps checkpoint.npz (the trainer's state and ``settings``), written every
    ``save_every`` steps and at the end, and log.jsonl.  If there is a checkpoint already, the
    trainer takes it up first; ``trainer.step`` tells.

    settings  numbers, texts, lists and dicts that say what is trained, for whoever opens the
              checkpoint; a run made with other settings is not continued

    Raises ValueError if the folder holds a run of other settings or another model,
    CheckpointError if its checkpoint is damaged, TrainingDiverged as `Trainer.run` does (the last
    checkpoint stays), TrainingStopped after Ctrl-C, when everything is saved.
    """
    for name, value in (("steps", steps), ("save_every", save_every)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"train: {name} is {value!r}, expected an int ≥ 1")
    folder = Path(folder)
    settings = _as_saved(settings or {})
    _resume(trainer, folder / CHECKPOINT, settings)
    return _train(trainer, steps, folder, settings, save_every)


def is_finished(
    folder: str | os.PathLike, settings: Mapping, *, whatever: Collection[str] = ()
) -> bool:
    """Whether ``folder`` holds a run of these settings that has taken all of their ``steps``.

    Then there is no need to prepare what it would be trained with.  Raises CheckpointError if its
    checkpoint is damaged.

    whatever  which settings may be others, as "seed" where that is one for drawing, too
    """
    path = Path(folder) / CHECKPOINT
    if not path.exists():
        return False
    state = checkpoint.load(path)
    told, saved = (
        {name: value for name, value in each.items() if name not in whatever}
        for each in (_as_saved(settings), state.get("settings", {}))
    )
    return told == saved and state["step"] >= settings["steps"]


def trained_weights(state: Mapping) -> dict:
    """From a run's loaded checkpoint, the model's state dict, weights averaged if it had an EMA."""
    return state["model"] | (state["ema"]["weights"] if state["ema"] else {})


def load_run(
    path: str | os.PathLike,
    make: Callable[[dict], Whole],
    *,
    kind: str,
    example: str,
    finished: bool = False,
) -> Whole:
    """``make(settings)`` of a run's checkpoint, its ``.model`` with the averaged weights.

    make      from the run's settings to something that has a network in ``model``
    kind      what it is, for the error: "a detector"
    example   the script that trains it
    finished  whether to refuse a run that has not taken all ``steps`` of its settings

    Raises FileNotFoundError, CheckpointError for a file that holds no such run, or HalfTrained.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{os.fspath(path)} does not exist: train with {example} first")
    state = checkpoint.load(path)
    try:
        whole = make(state["settings"])
        whole.model.load_state_dict(trained_weights(state))
        half = finished and state["step"] < state["settings"]["steps"]
    except (LookupError, TypeError, ValueError) as error:
        raise checkpoint.CheckpointError(
            f"{os.fspath(path)}: a checkpoint, but not {kind}'s, as {example} trains it "
            f"({type(error).__name__}: {error})"
        ) from None
    if half:
        raise HalfTrained(
            f"{os.fspath(path)} is half trained, {state['step']} of {state['settings']['steps']} "
            "steps: the command that trains it goes on with it"
        )
    return whole


def check_settings(settings: Mapping, *needed: str) -> None:
    """Raise ValueError naming what settings lack: for the ``make`` of `load_run`."""
    missing = ", ".join(name for name in needed if name not in settings)
    if missing:
        raise ValueError(f"settings: they lack {missing}; expected {', '.join(needed)}")


def _as_saved(settings: Mapping) -> dict:
    """Settings as a checkpoint gives them back."""
    return json.loads(json.dumps(settings))


def _resume(trainer: Trainer, path: Path, settings: dict) -> None:
    for name in (CHECKPOINT, LOG):
        remove_leftovers(path.with_name(name))
    if not path.exists():
        return
    state = checkpoint.load(path)
    saved = state.pop("settings", {})
    differing = [
        f"{name} is {settings.get(name)!r}, was {saved.get(name)!r}"
        for name in sorted(saved.keys() | settings.keys())
        if saved.get(name) != settings.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path.parent} holds a run with other settings: {'; '.join(differing)}.  "
            "Use another folder, or remove this one"
        )
    trainer.load_state_dict(state)


def _train(trainer, steps, folder, settings, save_every) -> Iterator[Step]:
    path, began = folder / CHECKPOINT, trainer.step
    unread: list[Step] = []

    def note() -> None:
        """Log and show the steps that are known by now to have gone well."""
        while unread and unread[0].step <= trainer.settled:
            record = unread.pop(0)
            log.write(record)
            bar.update(record)

    def save() -> None:
        trainer.settle()
        note()
        checkpoint.save(path, {"settings": settings, **trainer.state_dict()})

    with (
        Log(folder / LOG, trainer.step) as log,
        Progress(trainer.step, steps) as bar,
        Interrupt() as interrupt,
    ):
        try:
            for record in trainer.run(until=steps):
                unread.append(record)
                note()
                if record.step % save_every == 0 or record.step == steps:
                    save()
                yield record
                if interrupt.requested:
                    save()
                    raise TrainingStopped(
                        f"Stopped after step {record.step} of {steps}; all is saved in {path}.  "
                        "The same command again goes on from there."
                    )
        except backend.OutOfMemory as error:
            saved = "nothing was saved"
            if trainer.step > began:
                save()
                saved = f"all before is saved in {path}"
            traceback.clear_frames(error.__traceback__)  # the step's, and with it the graph
            raise backend.OutOfMemory(f"step {trainer.step + 1}: {error}; {saved}") from None
        except TrainingDiverged:
            note()
            raise
