"""Average precision: how good is a detector, whatever the score from which on one believes it?

All detections of a class, in all pictures, are put in order, the surest first, and each is found to
be right or wrong (`tinydiff.vision.matching`).  After each, with TP right ones and FP wrong ones of
n objects,

    recall = TP/n,   precision = TP/(TP + FP),   p(r) = the best precision at a recall ≥ r

and the average precision is

    "11-point"   the mean of p(r) at r = 0, 0.1, …, 1           VOC until 2009
    "all-point"  the area under p(r)                            VOC from 2010 on
    COCO's       the mean of p(r) at r = 0, 0.01, …, 1, and over the overlaps 0.50, 0.55, …, 0.95
                 that a detection must have to be right

Boxes have continuous corners, nothing adds 1.  A class that is in no picture has no average
precision (NaN) and counts for nothing; a picture without objects makes what is found in it wrong.
Equal scores stay in the order of pictures, then of detections.

Sources: M. Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", 2010, section
4.2; T.-Y. Lin et al., "Microsoft COCO", 2014, and its evaluation, cocoeval.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinydiff.vision.boxes import area, iou, mask_iou
from tinydiff.vision.matching import coco_matches, voc_hits
from tinydiff.vision.objects import Objects

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
SIZES = {  # of objects and detections that count, in pixels
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
MOST = 100  # detections of a class in a picture: the surest ones count


class CocoPrecision(NamedTuple):
    """COCO's average precisions, means over classes; NaN where there is nothing of the kind."""

    ap: float  # IoU 0.50 … 0.95
    ap50: float
    ap75: float
    small: float  # objects of up to 32² pixels
    medium: float
    large: float  # of 96² pixels and more


def average_precision(
    detections: Sequence[Objects],
    truths: Sequence[Objects],
    *,
    classes: int,
    iou: float = 0.5,
    rule: str = "all-point",
    by: str = "boxes",
) -> np.ndarray:
    """The average precision of each class, (classes,), by VOC's rules; np.nanmean is their mean.

    detections, with scores, and truths of the same pictures; by "boxes" or "masks"
    Raises ValueError or TypeError, naming the argument, where something else comes.
    """
    rules = {"11-point": _eleven_points, "all-point": _area}
    if rule not in rules:
        raise ValueError(f"rule: expected '11-point' or 'all-point', got {rule!r}")
    if not 0 < iou <= 1:
        raise ValueError(f"iou: expected 0 < iou ≤ 1, got {iou}")
    found = np.full(classes, np.nan)
    pairs = _checked(detections, truths, classes, by)
    for label in range(classes):
        scores, hits, count = [np.zeros(0)], [np.zeros(0, bool)], 0
        for detected, true, overlaps in _of_class(pairs, label, by):
            scores.append(detected.scores)
            hits.append(voc_hits(overlaps, iou))
            count += len(true)
        if count:
            order = np.argsort(-np.concatenate(scores), kind="stable")
            right = np.concatenate(hits)[order].cumsum()
            found[label] = rules[rule](right, np.arange(1, len(right) + 1), count)
    return found


def coco_average_precision(
    detections: Sequence[Objects], truths: Sequence[Objects], *, classes: int, by: str = "boxes"
) -> CocoPrecision:
    """COCO's six average precisions; arguments and errors as for `average_precision`.

    The size of an object is the area of its box, or the number of pixels of its mask.
    """
    pairs = _checked(detections, truths, classes, by)
    curves = {name: np.full((classes, len(OVERLAPS)), np.nan) for name in SIZES}
    for label in range(classes):
        pictures = [
            (detected[:MOST], true, overlaps[:MOST])
            for detected, true, overlaps in _of_class(pairs, label, by)
        ]
        for name, limits in SIZES.items():
            curves[name][label] = _coco_of_class(pictures, limits, by)
    means = {name: _mean(curve) for name, curve in curves.items()}
    at = {least: _mean(curves["all"][:, i]) for least, i in ((50, 0), (75, 5))}
    return CocoPrecision(
        means["all"], at[50], at[75], means["small"], means["medium"], means["large"]
    )


def _coco_of_class(pictures, limits: tuple[float, float], by: str) -> np.ndarray:
    """The average precision at each overlap (T,) for objects between the limits; NaN without any.

    What finds an object that does not count, or finds none and is of another size, is left out.
    """
    scores, hits, counted, count = [], [], [], 0
    for detected, true, overlaps in pictures:
        strange, elsewhere = (_outside(objects, limits, by) for objects in (detected, true))
        matches = coco_matches(overlaps, OVERLAPS, elsewhere)
        hit = matches >= 0
        scores.append(detected.scores)
        hits.append(hit)
        counted.append(~np.where(hit, np.append(elsewhere, False)[matches], strange))
        count += int((~elsewhere).sum())
    if count == 0:
        return np.full(len(OVERLAPS), np.nan)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits, counted = (np.concatenate(a, axis=1)[:, order] for a in (hits, counted))
    right, believed = (hits & counted).cumsum(axis=1), counted.cumsum(axis=1)
    return np.array([_coco(r, b, count) for r, b in zip(right, believed, strict=True)])


def _outside(objects: Objects, limits: tuple[float, float], by: str) -> np.ndarray:
    size = area(objects.boxes) if by == "boxes" else objects.masks.sum(axis=(1, 2))
    return (size < limits[0]) | (size > limits[1])


# p(r), and what is made of it; after each detection, so many were right of so many believed


def _envelope(right: np.ndarray, believed: np.ndarray) -> np.ndarray:
    """After each detection, the best precision from there on."""
    precision = right / np.maximum(believed, 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def _eleven_points(right: np.ndarray, believed: np.ndarray, count: int) -> float:
    # 10·TP ≥ k·n is exact, where TP/n ≥ k/10 would depend on how 0.3 is rounded.
    first = np.searchsorted(10 * right, np.arange(11) * count)
    return float(np.append(_envelope(right, believed), 0)[first].mean())


def _area(right: np.ndarray, believed: np.ndarray, count: int) -> float:
    gained = np.diff(right, prepend=0)
    return float((gained * _envelope(right, believed)).sum() / count)


def _coco(right: np.ndarray, believed: np.ndarray, count: int) -> float:
    first = np.searchsorted(right / count, RECALLS)
    return float(np.append(_envelope(right, believed), 0)[first].mean())


def _mean(values: np.ndarray) -> float:
    """The mean of those that are numbers; NaN if none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _of_class(pairs, label: int, by: str) -> Iterator[tuple[Objects, Objects, np.ndarray]]:
    """For each picture the detections of a class, the surest first, its objects, and their IoUs."""
    overlap = {"boxes": iou, "masks": mask_iou}[by]
    for detected, true in pairs:
        detected, true = (objects[objects.labels == label] for objects in (detected, true))
        if len(detected) or len(true):
            detected = detected[np.argsort(-detected.scores, kind="stable")]
            yield detected, true, overlap(getattr(detected, by), getattr(true, by))


def _checked(detections, truths, classes: int, by: str) -> list[tuple[Objects, Objects]]:
    if by not in ("boxes", "masks"):
        raise ValueError(f"by: expected 'boxes' or 'masks', got {by!r}")
    if classes < 1:
        raise ValueError(f"classes: expected at least 1, got {classes}")
    detections, truths = list(detections), list(truths)
    if len(detections) != len(truths):
        raise ValueError(f"detections: of {len(detections)} pictures, truths of {len(truths)}")
    for name, several in (("detections", detections), ("truths", truths)):
        for i, objects in enumerate(several):
            if not isinstance(objects, Objects):
                raise TypeError(f"{name}[{i}]: expected Objects, got {type(objects).__name__}")
            if (objects.labels >= classes).any():
                raise ValueError(
                    f"{name}[{i}]: expected labels 0 … {classes - 1}, got {objects.labels.max()}"
                )
            if getattr(objects, by) is None:
                raise ValueError(f"{name}[{i}]: has no {by}")
            if name == "detections" and objects.scores is None:
                raise ValueError(f"detections[{i}]: has no scores")
    return list(zip(detections, truths, strict=True))
