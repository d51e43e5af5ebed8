"""What to learn classes from, and what to test that on: data sets by name, folders of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinydiff.data.dataset import Dataset
from tinydiff.data.folder import image_folder

TENTH = 10


def train_and_test(
    name: str | os.PathLike, known: Mapping[str, Callable[[str], Dataset]], size: int = 32
) -> tuple[Dataset, Dataset]:
    """The two parts of the data set ``name`` among the ``known``, or of the folder of that name.

    A folder, of one sub-folder a class, is read by `image_folder` at ``size`` and cut by
    `hold_out`.  Raises ValueError if it is neither, or if the folder has no classes.
    """
    if name in known:
        return known[name]("train"), known[name]("test")
    if not Path(name).expanduser().is_dir():
        raise ValueError(
            f"--data is {os.fspath(name)!r}, expected {', '.join(known)}, or a folder of pictures"
        )
    return hold_out(image_folder(name, size))


def short_name(name: str | os.PathLike, known: Mapping) -> str:
    """What a run on the data is called: ``name`` itself, or of a folder its last part."""
    return name if name in known else Path(name).expanduser().resolve().name


def learned_from(settings: Mapping, known: Collection[str]) -> str:
    """Which of the data sets ``known`` by name a run's settings name; ValueError if another."""
    name = settings.get("data", "").removesuffix("-train")
    if name not in known:
        raise ValueError(f"the model learned from {name!r}, expected {', '.join(known)}")
    return name


def first_of(dataset: Dataset, count: int) -> Dataset:
    """Its first ``count`` pictures, or all if there are fewer, of all classes.

    A folder comes class by class: then they are the first of a shuffle, always the same.
    """
    places = np.arange(len(dataset))
    if dataset.labels is not None and (np.diff(dataset.labels) >= 0).all():
        places = np.random.default_rng(0).permutation(places)
    return _part(dataset, places[:count])


def hold_out(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """A data set with labels in two: all but every tenth picture of each class, and those.

    The tenth, the twentieth … in their order: always the same, and of each class its share.
    Raises ValueError if there are no labels, or fewer than ten pictures in a class.
    """
    if dataset.labels is None:
        raise ValueError(
            f"{dataset.name} has no classes: expected a folder with one sub-folder for each"
        )
    test = np.zeros(len(dataset), bool)
    for label, name in enumerate(dataset.classes):
        own = np.flatnonzero(dataset.labels == label)
        if len(own) < TENTH:
            raise ValueError(
                f"{dataset.name}: {len(own)} pictures of {name}, expected {TENTH} or more, "
                "since every tenth is kept for the test"
            )
        test[own[TENTH - 1 :: TENTH]] = True
    train, test = _part(dataset, ~test), _part(dataset, test)
    return replace(train, name=f"{dataset.name}-train"), replace(test, name=f"{dataset.name}-test")


def _part(dataset: Dataset, chosen: np.ndarray) -> Dataset:
    labels = None if dataset.labels is None else dataset.labels[chosen]
    return replace(dataset, images=dataset.images[chosen], labels=labels)
