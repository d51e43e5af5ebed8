"""Digits of all sizes, scattered over a black canvas: boxes and masks for MNIST and its like.

A picture of a digit is enlarged or reduced, and its ink is the opacity of a white thing
(``canvas.py``): a pixel belongs to the digit if its ink is at least half of white.  A digit goes
only where all is black in the box around its ink, so that none covers another.
"""

from __future__ import annotations

import numpy as np

from tinydiff.data.canvas import Canvas, draw_scenes
from tinydiff.data.captions import count as counted
from tinydiff.data.dataset import Dataset
from tinydiff.data.digits import digits
from tinydiff.data.scenes import Scenes

SMALLEST = 20  # pixels a side of a picture whose digit fills 5/7 of it
SIZES = 0.2, 0.5  # sides of a picture, of the canvas's
PATIENCE = 40  # digits tried for each that is wanted, until a scene is begun anew


def scattered_digits(
    split: str = "train",
    count: int = 4_000,
    *,
    source: Dataset | None = None,
    side: int = 64,
    objects: int | tuple[int, int] = (1, 5),
    seed: int = 0,
) -> Scenes:
    """``count`` grey scenes of ``side`` × ``side`` pixels with as many digits as ``objects`` says.

    split    "train" or "test", and ``seed``, choose the random stream; scene i does not depend on
             ``count``
    source   where the digits are taken from: `mnist(split)`, or any data set of labelled grey
             pictures on black; without it the built-in ones, `digits(split)`
    side     from 48 on; a digit's picture takes 20 pixels to half of it
    objects  a number from 1 to 8, or the least and the most, between which chance decides

    Raises ValueError for an unknown split, a count below 1, a source without labels or with
    colours, a side below 48, numbers of objects that are not as above or for which there is no
    room, a negative seed.
    """
    if side < 48:
        raise ValueError(f"side must be at least 48, got {side}")
    if source is None:
        source = digits(split, 10_000)
    if source.labels is None or source.images.shape[-1] != 1:
        raise ValueError(f"source must have labels and grey pictures, got {source}")

    def scene(rng, number):
        return _scene(rng, source, side, number)

    shape = side, side, 1
    return draw_scenes(
        "scattered-digits", scene, shape, source.classes, split, count, objects, seed
    )


def _scene(
    rng: np.random.Generator, source: Dataset, side: int, number: int
) -> tuple[Canvas, list[int], str] | None:
    """A scene of so many digits: its canvas, their labels, its caption; None if they don't fit."""
    canvas = Canvas(np.zeros((side, side, 1), np.float32))
    low, high = max(SMALLEST, int(SIZES[0] * side)), int(SIZES[1] * side)
    labels: list[int] = []
    for _ in range(PATIENCE * number):
        chosen, size = rng.integers(len(source)), rng.integers(low, high + 1)
        row, column = rng.integers(side - size + 1, size=2)
        ink = _resized(source.images[chosen, ..., 0] / 255, size)
        rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
        if ink.max() < 0.5:
            continue  # too faint for a mask
        bottom, right = row + rows[-1] + 1, column + columns[-1] + 1
        if canvas.image[row + rows[0] : bottom, column + columns[0] : right].any():
            continue
        canvas.place(ink, np.full((size, size, 1), 255, np.float32), row, column)
        labels.append(source.labels[chosen])
        if len(labels) == number:
            return canvas, labels, counted(source.classes[label] for label in labels)
    return None


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """A square picture (n, n) as one of (size, size), bilinearly."""
    n = len(image)
    place = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    before = np.minimum(place.astype(np.intp), n - 2)
    share = place - before
    image = image[before] + share[:, None] * (image[before + 1] - image[before])
    return image[:, before] + share * (image[:, before + 1] - image[:, before])
