"""What is in a picture, or is said to be: boxes with classes, and scores and masks where known.

Boxes are (x0, y0, x1, y1) in pixels, real numbers: x to the right, y down, (0, 0) the top left
corner of the first pixel, whose other corner is (1, 1).  So a box that hugs the pixels of columns
3, 4 and 5 has x0 = 3 and x1 = 6, and is x1 − x0 wide; nothing adds 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one picture, NumPy arrays of K of them; ``objects[index]`` picks some.

    boxes   (K, 4) corners, x0 ≤ x1 and y0 ≤ y1; kept as float64
    labels  (K,) integers, the classes, from 0
    scores  (K,) how sure a detector is of each; None for the truth
    masks   (K, H, W) booleans, the pixels of each; or None
    Raises TypeError or ValueError, naming the field, where something else comes.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        boxes = checked_boxes("boxes", self.boxes)
        labels = np.asarray(self.labels)
        if labels.dtype.kind not in "iu" and labels.size:
            raise TypeError(f"labels: expected integers, got {labels.dtype}")
        found = {"boxes": boxes, "labels": labels.astype(np.int64)}
        if labels.shape != (len(boxes),) or (labels < 0).any():
            raise ValueError(
                f"labels: expected a class ≥ 0 for each of {len(boxes)} boxes, got {self.labels!r}"
            )
        if self.scores is not None:
            found["scores"] = checked_scores(self.scores, len(boxes))
        if self.masks is not None:
            masks = np.asarray(self.masks)
            if masks.dtype != bool:
                raise TypeError(f"masks: expected booleans, got {masks.dtype}")
            if masks.ndim != 3 or len(masks) != len(boxes):
                raise ValueError(f"masks: expected ({len(boxes)}, H, W), got shape {masks.shape}")
            found["masks"] = masks
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index) -> Objects:
        """Those that an array of positions or of booleans, or a slice, picks."""
        fields = (self.boxes, self.labels, self.scores, self.masks)
        return Objects(*[a if a is None else a[index] for a in fields])

    def at_least(self, score: float) -> Objects:
        """Those with that score or more; all of the truth, which has no scores."""
        return self if self.scores is None else self[self.scores >= score]


def objects_of(
    labels: np.ndarray, boxes: np.ndarray, instances: np.ndarray | None = None
) -> list[Objects]:
    """What is in each picture of a batch, as `tinydiff.data.Scenes` and its batches tell it.

    labels (N, K), negative where there is no object, boxes (N, K, 4), and instances (N, H, W) with
    k at the pixels of the k-th object, from 1; or None.
    """
    found = []
    for n, there in enumerate(np.asarray(labels) >= 0):
        numbers = 1 + np.flatnonzero(there)
        masks = None if instances is None else instances[n] == numbers[:, None, None]
        found.append(Objects(boxes[n][there], labels[n][there], None, masks))
    return found


def describe(objects: Objects, classes: Sequence[str]) -> list[str]:
    """A line for each of a detector's objects: its class, its score, its corners."""
    return [
        f"{classes[label]} {score:.0%} at {box.round(1).tolist()}"
        for box, label, score in zip(objects.boxes, objects.labels, objects.scores, strict=True)
    ]


def checked_boxes(name: str, boxes) -> np.ndarray:
    """Boxes (K, 4) as float64; ValueError unless they are finite, with x0 ≤ x1 and y0 ≤ y1."""
    array = np.asarray(boxes)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers (K, 4), got {array.dtype}")
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name}: expected corners (K, 4), got shape {array.shape}")
    array = array.astype(np.float64)
    wrong = ~(np.isfinite(array).all(axis=1) & (array[:, :2] <= array[:, 2:]).all(axis=1))
    if wrong.any():
        raise ValueError(
            f"{name}: expected finite corners with x0 ≤ x1 and y0 ≤ y1, "
            f"got {array[wrong][0].tolist()}"
        )
    return array


def checked_scores(scores, count: int) -> np.ndarray:
    """Scores (K,) as float64; ValueError unless there is one for each box, none of them NaN."""
    array = np.asarray(scores)
    if array.dtype.kind not in "fiu" and array.size:
        raise TypeError(f"scores: expected numbers, got {array.dtype}")
    array = array.astype(np.float64)
    if array.shape != (count,) or np.isnan(array).any():
        raise ValueError(f"scores: expected a number for each of {count} boxes, got {scores!r}")
    return array
