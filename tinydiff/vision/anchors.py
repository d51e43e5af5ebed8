"""Anchors: the widths and heights that boxes of a data set usually have, by k-means.

The distance of two shapes is 1 − IoU with their centres put together: so an error counts by its
share of the box, where a Euclidean distance would care for large boxes only.  Repeated: each
shape goes to the nearest anchor, each anchor to the mean of its shapes.

Source: J. Redmon and A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2017, section 2, dimension
clusters.
"""

from __future__ import annotations

import operator

import numpy as np

from tinydiff.vision.boxes import ratio

STARTS = 10  # from as many choices of first anchors; the best end counts
STEPS = 300  # at most: under this distance nothing keeps the steps from going round in a circle


def shape_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of each of the widths and heights a (K, 2) with each of b (M, 2), centres together"""
    both = np.minimum(a[:, None], b).prod(axis=-1)
    return ratio(both, a.prod(axis=-1)[:, None] + b.prod(axis=-1) - both)


def anchors_of(sizes: np.ndarray, k: int, *, seed: int = 0) -> np.ndarray:
    """k anchors (k, 2) for boxes of these widths and heights (N, 2), in their unit.

    They come in order of area, then of width.  The same seed gives the same anchors.  Boxes
    without area are left out.
    Raises ValueError for other arrays, or unless 1 ≤ k ≤ the number of different sizes: there are
    no more clusters than that.
    """
    sizes = np.asarray(sizes, np.float64)
    if sizes.ndim != 2 or sizes.shape[1] != 2 or not (np.isfinite(sizes) & (sizes >= 0)).all():
        raise ValueError(f"sizes: expected widths and heights (N, 2) ≥ 0, got shape {sizes.shape}")
    sizes = sizes[sizes.prod(axis=1) > 0]
    different = np.unique(sizes, axis=0)
    if not 1 <= operator.index(k) <= len(different):
        raise ValueError(f"k: expected 1 … {len(different)}, the number of sizes, got {k}")
    rng = np.random.default_rng(seed)
    starts = [rng.choice(different, k, replace=False) for _ in range(STARTS)]
    best = max((_settled(sizes, start) for start in starts), key=lambda a: mean_fit(sizes, a))
    return best[np.lexsort((best[:, 0], best.prod(axis=1)))]


def mean_fit(sizes: np.ndarray, anchors: np.ndarray) -> float:
    """How well anchors fit: the mean over sizes (N, 2) of the IoU with the best anchor."""
    return float(shape_iou(sizes, anchors).max(axis=1).mean())


def _settled(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Steps of k-means until every shape stays with its anchor; one that has none stays put."""
    nearest = None
    for _ in range(STEPS):
        before, nearest = nearest, shape_iou(sizes, anchors).argmax(axis=1)
        if np.array_equal(before, nearest):
            break
        members = [sizes[nearest == i] for i in range(len(anchors))]
        anchors = np.stack(
            [m.mean(axis=0) if len(m) else a for m, a in zip(members, anchors, strict=True)]
        )
    return anchors
