"""Classifiers for scenes of several shapes: they learn from scenes of one, whose class is known.

A scene of many shapes has no class, but what tells a heart from a star in a small scene sees hearts
and stars in a large one too, place by place.  So the features of such a classifier serve as those
of a judge do: see `tinydiff.metrics.judge`.  Whoever learns to please one is judged by another, of
another seed.
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
RECIPE = {"kind": "vgg", "epochs": 4.0, "lr": 2e-3, "flip": True}


def scene_classifier(folder: str | os.PathLike, *, seed: int) -> Recogniser:
    """The `VGG` of the run in ``folder``; what it lacks is trained now, and a line says so.

    seed  of its first weights and of its batches

    The process's random numbers go on afterwards as if there had been nothing to do.  Raises
    ValueError if the run is of another seed or network, and what `train_classifier` does.
    """
    path, before = Path(folder) / CHECKPOINT, backend.rng.bit_generator.state
    wanted = {"kind": RECIPE["kind"], "seed": seed}
    try:
        found = Recogniser.load(path, finished=True)
    except (FileNotFoundError, HalfTrained):
        print(f"There is no classifier of scenes in {path.parent} yet: it is trained now.")
    else:
        known = {name: found.settings.get(name) for name in wanted}
        if known != wanted:
            raise ValueError(f"{path} is another classifier: expected {wanted}, got {known}")
        return found
    try:
        backend.seed(seed)
        scenes = data.shapes("train", COUNT, side=SIDE, objects=1)
        return train_classifier(scenes.one_each(), folder, seed=seed, **RECIPE)
    finally:
        backend.rng.bit_generator.state = before
