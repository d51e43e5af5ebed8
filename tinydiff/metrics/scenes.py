"""Classifiers for scenes of several shapes: they learn from scenes of one, whose class is known.

A scene of many shapes has no class, but what tells a heart from a star in a small scene sees hearts
and stars in a large one too, place by place.  So the features of such a classifier serve as those
of a judge do: see `tinydiff.metrics.judge`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tinydiff import backend, data
from tinydiff.metrics.classifying import train_classifier
from tinydiff.metrics.recogniser import Recogniser
from tinydiff.training import HalfTrained
from tinydiff.training.run import CHECKPOINT

COUNT, SIDE = 20_000, 32  # scenes of one shape, and their pixels
RECIPES = {  # arguments of `train_classifier`, by kind
    "resnet": {
        "widths": (24, 48, 96),
        "blocks": (0, 1, 1),
        "epochs": 3.0,
        "lr": 4e-3,
        "flip": True,
    },
    "vgg": {"epochs": 4.0, "lr": 2e-3, "flip": True},
}


def scene_classifier(folder: str | os.PathLike, kind: str) -> Recogniser:
    """The classifier of the run in ``folder``; what it lacks is trained now, and a line says so.

    kind  of the network: "resnet", or "vgg", whose features are simpler

    Training begins after ``seed(0)``, and the process's random numbers go on afterwards as if there
    had been nothing to do.  Raises ValueError for another kind, or if the run is of another, and
    what `train_classifier` does.
    """
    if kind not in RECIPES:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(RECIPES)}")
    path, before = Path(folder) / CHECKPOINT, backend.rng.bit_generator.state
    try:
        found = Recogniser.load(path, finished=True)
    except (FileNotFoundError, HalfTrained):
        print(f"There is no classifier of scenes in {path.parent} yet: it is trained now.")
    else:
        if found.settings.get("kind") != kind:
            raise ValueError(
                f"{path} is a classifier of kind {found.settings.get('kind')!r}, expected {kind!r}"
            )
        return found
    try:
        backend.seed(0)
        scenes = data.shapes("train", COUNT, side=SIDE, objects=1)
        return train_classifier(scenes.one_each(), folder, kind=kind, **RECIPES[kind])
    finally:
        backend.rng.bit_generator.state = before
