"""A data set: images as bytes, labels, and the names of the classes, checked once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"name must be a text that is not empty, got {self.name!r}")
        if not isinstance(self.classes, tuple) or not all(isinstance(c, str) for c in self.classes):
            raise TypeError(f"classes must be a tuple of texts, got {self.classes!r}")
        _check_array("images", self.images, np.uint8)
        shape = self.images.shape
        if len(shape) != 4 or 0 in shape or shape[-1] not in (1, 3):
            raise ValueError(
                "images must be (N, H, W, C) with at least one image and C = 1 or 3, "
                f"got shape {shape}"
            )
        if self.labels is None:
            if self.classes:
                raise ValueError("labels is None although classes are named: give both or neither")
            return
        _check_array("labels", self.labels, np.int64)
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

    def __repr__(self) -> str:
        n, height, width, channels = self.images.shape
        classes = f"{len(self.classes)} classes" if self.classes else "no labels"
        return f"Dataset({self.name!r}: {n} images {height}x{width}x{channels}, {classes})"


def _check_array(field: str, value: object, dtype: type) -> None:
    wanted = np.dtype(dtype)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{field} must be a NumPy array of {wanted}, got {type(value).__name__}")
    if value.dtype != wanted:
        raise TypeError(
            f"{field} must be {wanted}, got {value.dtype}: convert with .astype(np.{wanted})"
        )
