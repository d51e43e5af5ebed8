"""Samples that can be compared fairly: with the same mix of classes, and equally many pictures.

Classes lie far apart in the features of a classifier, so one picture more of this and one less of
that weighs more than what a model does wrong within a class.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff.data import Dataset


def same_mix(
    dataset: Dataset, labels: np.ndarray, rng: np.random.Generator, *, most: float = math.inf
) -> np.ndarray:
    """Which pictures of the data set to take for the mix of classes of ``labels`` (N,).

    They are drawn at random and sorted by class: as many as there are, at most ``most``·N.
    Raises ValueError if the data set lacks one of the classes.
    """
    classes, wanted = np.unique(labels, return_counts=True)
    there = [rng.permutation(np.flatnonzero(dataset.labels == c)) for c in classes]
    # Of each class this many times what is wanted, for the class that has least to spare.
    times = min(most, *(len(t) / w for t, w in zip(there, wanted, strict=True)))
    if times == 0:
        lacking = ", ".join(str(c) for c, t in zip(classes, there, strict=True) if not len(t))
        raise ValueError(f"labels: {dataset.name} has no pictures of class {lacking}")
    return np.concatenate([t[: int(times * w)] for t, w in zip(there, wanted, strict=True)])


def evenly(x: np.ndarray, count: int) -> np.ndarray:
    """``count`` rows of x from first to last: of rows sorted by class, the same mix."""
    return x[np.linspace(0, len(x) - 1, count).round().astype(int)]
