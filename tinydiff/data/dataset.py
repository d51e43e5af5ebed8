"""A data set: images as bytes, labels, and the names of the classes, checked once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinydiff.data.checks import check_array, check_images, check_names


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, and labels where there are any.

    name: what it is, for file names and titles.  images: uint8 (N, H, W, C), C = 1 or 3, N >= 1.
    labels: int64 (N,), each an index into ``classes``, or None.  classes: a name for each label.
    Raises TypeError or ValueError, naming the field, where something else comes.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.name, self.classes)
        check_images(self.images)
        shape = self.images.shape
        if self.labels is None:
            if self.classes:
                raise ValueError("labels is None although classes are named: give both or neither")
            return
        check_array("labels", self.labels, np.int64)
        if self.labels.shape != shape[:1]:
            raise ValueError(
                f"labels must have shape {shape[:1]}, one for each image, got {self.labels.shape}"
            )
        low, high = self.labels.min(), self.labels.max()
        if low < 0 or high >= len(self.classes):
            raise ValueError(
                f"labels must lie in 0 ... {len(self.classes) - 1}, an index into the "
                f"{len(self.classes)} classes, but they range from {low} to {high}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def annotations(
        self, chosen: np.ndarray | slice, mirrored: np.ndarray | None, pad: int
    ) -> tuple[np.ndarray | None]:
        """The labels of the ``chosen`` images, (n,) or None; flips and paddings change nothing."""
        # A slice of the labels would be a view: a caller that changes a batch must not change them.
        return (None if self.labels is None else self.labels[chosen].copy(),)

    def __repr__(self) -> str:
        n, height, width, channels = self.images.shape
        classes = f"{len(self.classes)} classes" if self.classes else "no labels"
        return f"Dataset({self.name!r}: {n} images {height}x{width}x{channels}, {classes})"
