"""Boxes: other ways to write them down, and how much two of them have in common.

    IoU(a, b)  = |a ∩ b| / |a ∪ b|                        1 if they are equal, 0 if they are apart
    GIoU(a, b) = IoU − (|hull| − |a ∪ b|) / |hull|        the hull is the smallest box around both

Boxes are (x0, y0, x1, y1), as in `tinydiff.vision.objects`.  Boxes without area have IoU 0 with
everything, themselves too: 0/0 is taken as 0.

The functions with an argument ``lib`` are written once for all: ``np`` for arrays on the host,
`backend.xp` for those of the backend, ``ops`` for Tensors, through which gradients pass.

Source: H. Rezatofighi et al., "Generalized Intersection over Union", 2019, algorithm 1.
"""

from __future__ import annotations

import numpy as np

from tinydiff.vision.objects import checked_boxes


def area(boxes):
    """(x1 − x0)·(y1 − y0), for arrays or Tensors: (…, 4) → (…)"""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def to_centres(boxes, lib=np):
    """(x0, y0, x1, y1) to centre and size (x, y, width, height): (…, 4) → (…, 4)"""
    x0, y0, x1, y1 = (boxes[..., i] for i in range(4))
    return lib.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], axis=-1)


def to_corners(centres, lib=np):
    """Centre and size (x, y, width, height) to (x0, y0, x1, y1): (…, 4) → (…, 4)"""
    x, y, width, height = (centres[..., i] for i in range(4))
    right, down = width / 2, height / 2
    return lib.stack([x - right, y - down, x + right, y + down], axis=-1)


def clip(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """The part of each box (K, 4) within a picture; one outside becomes one without area."""
    limits = np.array([width, height, width, height], np.float64)
    return np.clip(checked_boxes("boxes", boxes), 0, limits)


def intersection_and_union(a, b, lib=np):
    """|a ∩ b| and |a ∪ b| of boxes (…, 4) that broadcast"""
    width = lib.minimum(a[..., 2], b[..., 2]) - lib.maximum(a[..., 0], b[..., 0])
    height = lib.minimum(a[..., 3], b[..., 3]) - lib.maximum(a[..., 1], b[..., 1])
    both = lib.maximum(width, 0) * lib.maximum(height, 0)
    return both, area(a) + area(b) - both


def iou_of(a, b, lib=np):
    """IoU of boxes (…, 4) that broadcast, number by number"""
    return ratio(*intersection_and_union(a, b, lib), lib)


def giou_of(a, b, lib=np):
    """GIoU of boxes (…, 4) that broadcast, number by number"""
    both, either = intersection_and_union(a, b, lib)
    width = lib.maximum(a[..., 2], b[..., 2]) - lib.minimum(a[..., 0], b[..., 0])
    height = lib.maximum(a[..., 3], b[..., 3]) - lib.minimum(a[..., 1], b[..., 1])
    hull = width * height
    return ratio(both, either, lib) - ratio(hull - either, hull, lib)


def ratio(part, whole, lib=np):
    """part / whole, and 0 where the whole is 0"""
    return part / lib.where(whole > 0, whole, 1)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of each of the boxes a (K, 4) with each of b (M, 4): → (K, M)

    Raises ValueError unless they are finite corners with x0 ≤ x1 and y0 ≤ y1.  K and M may be 0.
    """
    return iou_of(checked_boxes("a", a)[:, None], checked_boxes("b", b))


def giou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """GIoU, −1 … 1, of each of the boxes a (K, 4) with each of b (M, 4): → (K, M); see `iou`."""
    return giou_of(checked_boxes("a", a)[:, None], checked_boxes("b", b))


def mask_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of pixels: of each of the masks a (K, H, W) with each of b (M, H, W): → (K, M)

    A mask without pixels has IoU 0 with everything.  Counts are exact up to 2²⁴ pixels.
    Raises ValueError for pictures of other sizes.
    """
    if a.ndim != 3 or b.ndim != 3 or a.shape[1:] != b.shape[1:]:
        raise ValueError(f"expected masks (K, H, W) of one size, got {a.shape} and {b.shape}")
    a, b = (m.reshape(len(m), m.shape[1] * m.shape[2]).astype(np.float32) for m in (a, b))
    both = (a @ b.T).astype(np.float64)
    sizes = [m.sum(axis=1, dtype=np.float64) for m in (a, b)]
    return ratio(both, sizes[0][:, None] + sizes[1] - both)
