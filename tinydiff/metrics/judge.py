"""The judge: a classifier trained on real pictures, whose features and opinions metrics use.

There are no weights to download, so the judge of a data set is trained here, on its training set:
a minute for MNIST, and 99.4 % of the test set right; longer for colour, with a larger network.
Numbers of one judge compare with each other only.
"""

from __future__ import annotations

import os
from pathlib import Path

from tinydiff import backend, data
from tinydiff.metrics.classifying import train_classifier
from tinydiff.metrics.recogniser import Recogniser
from tinydiff.models import ImageClassifier
from tinydiff.training import HalfTrained
from tinydiff.training.run import CHECKPOINT

GREY = {"kind": "plain", "epochs": 3.0}
COLOUR = {
    "kind": "resnet",
    "widths": (48, 96, 192),
    "blocks": (0, 1, 1),
    "epochs": 6.0,
    "least_steps": 600,
    "lr": 3e-3,
    "flip": True,
    "shift": 3,
}


def judge_recipe(channels: int) -> dict:
    """How the judge of pictures of 1 or 3 channels is trained: arguments of `train_classifier`."""
    return dict(GREY if channels == 1 else COLOUR)


def judge_of(dataset: data.Dataset, folder: str | os.PathLike, **changes) -> ImageClassifier:
    """The judge of the run in ``folder``; what it lacks is trained now, and a line says so.

    It is trained, from the beginning or from where its run stopped, by its `judge_recipe` (with
    ``changes``) after ``seed(0)``, and the process's random numbers go on afterwards as if there
    had been nothing to do.  Raises what `train_classifier` and `load_judge` do, and ValueError if
    the run is that of other pictures or classes.
    """
    path, before = Path(folder) / CHECKPOINT, backend.rng.bit_generator.state
    try:
        try:
            judge = Recogniser.load(path, finished=True)
        except FileNotFoundError:
            print(f"There is no judge in {path.parent} yet: it is trained now.")
        except HalfTrained:
            print(f"The judge in {path.parent} is half trained: it is trained on now.")
        else:
            _check_fits(judge, dataset, path)
            return judge.model
        backend.seed(0)
        recipe = judge_recipe(dataset.images.shape[3]) | changes
        return train_classifier(dataset, folder, **recipe).model
    finally:
        backend.rng.bit_generator.state = before


def load_judge(path: str | os.PathLike) -> ImageClassifier:
    """The classifier of a run's checkpoint, with its averaged weights.

    Raises FileNotFoundError, CheckpointError if the file is damaged or another network's, and
    HalfTrained if the run has not come to its end.
    """
    return Recogniser.load(path, finished=True).model


def _check_fits(judge: Recogniser, dataset: data.Dataset, path: Path) -> None:
    known = {"image": dataset.images.shape[1:], "classes": dataset.classes}
    for name, wanted in known.items():
        said = tuple(judge.settings.get(name, wanted))  # older runs do not say
        if said != wanted:
            raise ValueError(
                f"{path} is the judge of other pictures than {dataset.name}: its {name} is {said}, "
                f"expected {wanted}; remove it, or name another folder"
            )
