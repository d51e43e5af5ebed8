"""Batches of a data set: shuffled without end for training, once in order for evaluation.

A training stream is a pure function of (seed, step).  Epoch e shuffles with a generator seeded by
(seed, e), step s flips with one seeded by (seed, s, 1) and shifts with one seeded by (seed, s, 2):
a run that resumes at step s needs no other state to see exactly the batches that an uninterrupted
one would have seen.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator

import numpy as np

from tinydiff.data.augment import shifted
from tinydiff.data.dataset import Dataset
from tinydiff.data.scenes import Scenes
from tinydiff.images import check_value_range, to_float

Batch = tuple[np.ndarray | None, ...]


class Batches:
    """An endless stream of shuffled batches; ``batches[step]`` is batch number ``step``.

    Every batch is (x, y): x float32 (batch_size, H + 2 pad, W + 2 pad, C) in ``value_range``,
    padded all around with its lowest value (black); y int64 (batch_size,), or None for a data set
    without labels.  ``flip`` mirrors each image left to right with probability 1/2; ``shift``
    moves each by up to so many pixels both ways, its border repeated (`augment.shifted`).
    Of `Scenes` it is (x, labels, boxes, instances), flipped and padded alike, but not shifted:
    objects would leave the picture.
    ``len(batches)`` is the number of batches in an epoch; the images left over sit out until the
    next shuffle.  Iterating starts at step 0 and never ends.

    Raises ValueError for a batch_size that is not in 1 ... len(dataset), a negative pad, shift or
    seed, shifted `Scenes`, or an empty value range.
    """

    def __init__(
        self,
        dataset: Dataset | Scenes,
        batch_size: int,
        *,
        seed: int = 0,
        flip: bool = False,
        shift: int = 0,
        pad: int = 0,
        value_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        _check(batch_size, pad, value_range)
        if batch_size > len(dataset):
            raise ValueError(
                f"batch_size is {batch_size}, but {dataset.name} has only {len(dataset)} images"
            )
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        if shift < 0:
            raise ValueError(f"shift must not be negative (pixels), got {shift}")
        if shift and isinstance(dataset, Scenes):
            raise ValueError(f"shift is {shift}, but objects of {dataset.name} would leave it")
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.shift = shift
        self.pad = pad
        self.value_range = value_range
        self._shuffled: tuple[int, np.ndarray] | None = None  # the last epoch asked for

    def __len__(self) -> int:
        return len(self.dataset) // self.batch_size

    def __getitem__(self, step: int) -> Batch:
        chosen, mirrored, moved = self.picks(step)
        return _batch(self.dataset, chosen, self.pad, self.value_range, mirrored, moved)

    def picks(self, step: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """What batch ``step`` is made of: which images, which of them are mirrored (a bool for
        each), and how far they are moved (down, right); None where nothing is.
        """
        step = operator.index(step)
        if step < 0:
            raise IndexError(f"step must not be negative (the stream has no end), got {step}")
        epoch, position = divmod(step, len(self))
        start = position * self.batch_size
        chosen = self._order(epoch)[start : start + self.batch_size]
        mirrored = moved = None
        # The third number keeps these streams apart, and from the shuffles, seeded by two.
        if self.flip:
            mirrored = np.random.default_rng([self.seed, step, 1]).random(self.batch_size) < 0.5
        if self.shift:
            rng = np.random.default_rng([self.seed, step, 2])
            moved = rng.integers(-self.shift, self.shift + 1, (self.batch_size, 2))
        return chosen, mirrored, moved

    def __iter__(self) -> Iterator[Batch]:
        step = 0
        while True:
            yield self[step]
            step += 1

    def _order(self, epoch: int) -> np.ndarray:
        if self._shuffled is None or self._shuffled[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._shuffled = epoch, rng.permutation(len(self.dataset))
        return self._shuffled[1]


def ordered(
    dataset: Dataset | Scenes,
    batch_size: int,
    *,
    pad: int = 0,
    value_range: tuple[float, float] = (-1.0, 1.0),
) -> Iterator[Batch]:
    """Every image once, in order, as batches like those of ``Batches``; the last may be short."""
    _check(batch_size, pad, value_range)
    starts = range(0, len(dataset), batch_size)
    slices = (slice(start, start + batch_size) for start in starts)
    return (_batch(dataset, chosen, pad, value_range) for chosen in slices)


def _check(batch_size: int, pad: int, value_range: tuple[float, float]) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if pad < 0:
        raise ValueError(f"pad must not be negative, got {pad}")
    check_value_range(value_range)


def _batch(
    dataset: Dataset | Scenes,
    chosen: np.ndarray | slice,
    pad: int,
    value_range: tuple[float, float],
    mirrored: np.ndarray | None = None,
    moved: np.ndarray | None = None,
) -> Batch:
    images = dataset.images[chosen]
    if mirrored is not None:
        images[mirrored] = images[mirrored, :, ::-1]
    if moved is not None:
        images = shifted(images, moved)
    x = to_float(images, value_range)
    if pad:
        border = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        x = np.pad(x, border, constant_values=value_range[0])
    return x, *dataset.annotations(chosen, mirrored, pad)
