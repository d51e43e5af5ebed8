"""Non-maximum suppression: of several boxes around one object, the surest stays.

Hard     take the box of the highest score; drop all whose IoU with it is above a threshold; go on
Soft     do not drop them, but lower their scores: the more they overlap, the further

    linear     s ← s·(1 − IoU)  where IoU > threshold
    Gaussian   s ← s·exp(−IoU²/σ)

Of equal scores, the lower index goes first.  Boxes of different classes leave each other alone.

Source: N. Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", 2017,
section 3 (the hard form is its figure 2 too).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinydiff.vision.boxes import iou_of
from tinydiff.vision.objects import checked_boxes, checked_scores

BLOCK = 32  # rows of the matrix of overlaps at a time: what they take stays in the cache


def nms(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray | None = None, *, iou: float = 0.45
) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the boxes that stay, and their scores, the highest first.

    boxes (K, 4), scores (K,), labels (K,) or None if all are of one class; a box is dropped whose
    IoU with one that stays, of its class and before it, is greater than ``iou``.
    Raises TypeError or ValueError for other arrays, or unless 0 ≤ iou ≤ 1.
    """
    boxes, scores = _checked(boxes, scores, iou=iou)
    stays = np.zeros(len(boxes), bool)
    for where in _classes(scores, labels):
        where = where[np.argsort(-scores[where], kind="stable")]
        stays[where] = _surest(boxes[where], iou)
    kept = np.flatnonzero(stays)
    kept = kept[np.lexsort((kept, -scores[kept]))]
    return kept, scores[kept]


def _surest(boxes: np.ndarray, iou: float) -> np.ndarray:
    """Which of the boxes (K, 4), the surest first, stay? booleans (K,)"""
    stays = np.ones(len(boxes), bool)
    for start in range(0, len(boxes), BLOCK):
        rows = start + np.flatnonzero(stays[start : start + BLOCK])
        rest = start + np.flatnonzero(stays[start:])
        over = iou_of(boxes[rows, None], boxes[rest]) > iou
        alive = np.ones(len(rest), bool)
        for i in range(len(rows)):  # these are the first of the rest
            if alive[i]:
                alive[i + 1 :] &= ~over[i, i + 1 :]
        stays[rest] = alive
    return stays


def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    method: str = "gaussian",
    iou: float = 0.3,
    sigma: float = 0.5,
    least: float = 0.001,
) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the boxes in their new order, and their new scores, of at least ``least``.

    method  "gaussian", with ``sigma``, or "linear", with the threshold ``iou``
    All else as in `nms`; scores must not be negative.
    """
    if method not in ("linear", "gaussian"):
        raise ValueError(f"method: expected 'linear' or 'gaussian', got {method!r}")
    if not sigma > 0:
        raise ValueError(f"sigma: expected a number > 0, got {sigma}")
    boxes, scores = _checked(boxes, scores, iou=iou)
    if (scores < 0).any():
        raise ValueError(f"scores: expected none < 0, got {scores.min()}")

    def keeps(overlaps):
        """The share of its score that a box keeps beside a surer one."""
        if method == "linear":
            return np.where(overlaps > iou, 1 - overlaps, 1)
        return np.exp(-np.square(overlaps) / sigma)

    new = np.zeros(len(boxes))
    for where in _classes(scores, labels):
        new[where] = _lowered(boxes[where], scores[where], keeps, least)
    kept = np.flatnonzero(new >= least)
    kept = kept[np.lexsort((kept, -new[kept]))]
    return kept, new[kept]


def _lowered(boxes: np.ndarray, scores: np.ndarray, keeps: Callable, least: float) -> np.ndarray:
    """The scores (K,) after each box, in the order of what is left of them, had its say."""
    left, new = scores.copy(), np.zeros(len(scores))
    shares = np.concatenate(
        [
            keeps(iou_of(boxes[start : start + BLOCK, None], boxes))
            for start in range(0, len(boxes), BLOCK)
        ]
    )
    for _ in range(len(boxes)):
        best = int(left.argmax())  # the first of equals
        if left[best] < least:  # and so are all others
            break
        new[best] = left[best]
        left *= shares[best]
        left[best], shares[:, best] = -1, 1
    return new


def _classes(scores: np.ndarray, labels: np.ndarray | None) -> Iterator[np.ndarray]:
    """For each class the positions of its boxes."""
    labels = np.zeros(scores.shape, int) if labels is None else np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"labels: expected one for each of {len(scores)} boxes, got {labels!r}")
    return (np.flatnonzero(labels == label) for label in np.unique(labels))


def _checked(boxes, scores, *, iou: float) -> tuple[np.ndarray, np.ndarray]:
    if not 0 <= iou <= 1:
        raise ValueError(f"iou: expected a threshold 0 … 1, got {iou}")
    boxes = checked_boxes("boxes", boxes)
    return boxes, checked_scores(scores, len(boxes))
