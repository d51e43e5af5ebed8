"""Masks of one size, cut out of a picture by a box, and put back there.

A box (x0, y0, x1, y1) sees its object as s × s numbers, each the mean of the mask over a bin of the
box.  Pixel j of the picture lies at (j + ½ − x0)·s/(x1 − x0) of the s numbers in a row; there they
are read between the two nearest, and the pixel belongs to the object if it is in the box and what
is read is ½ or more.  Both ways are one bilinear sampling, y = R m Cᵀ (`ops.roi_align`): the
picture is to the mask what the box is to the picture.

The loss of a box is the mean over its s × s numbers of

    −t ln σ(z) − (1 − t) ln(1 − σ(z))

with the share t of the bin that the object fills.

Source: K. He et al., "Mask R-CNN", 2017, section 3.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import ops
from tinydiff.data import Batches
from tinydiff.ops.crop import bin_means
from tinydiff.tensor import Tensor
from tinydiff.vision.boxes import area, clip
from tinydiff.vision.objects import Objects, checked_boxes, objects_of

SAMPLES = 2  # points a bin, along each side


def crop_masks(masks: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """What each box sees of its mask: (K, H, W), (K, 4) → float32 (K, size, size), 0 … 1

    Raises ValueError where there are not as many, or a box is none.
    """
    boxes = _checked(masks, boxes)
    rows, columns = (
        bin_means(boxes[:, i], boxes[:, i + 2], size, SAMPLES, n).astype(np.float32)
        for i, n in ((1, masks.shape[1]), (0, masks.shape[2]))
    )
    return rows @ masks.astype(np.float32) @ columns.swapaxes(1, 2)


def paste_masks(crops: np.ndarray, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels of each object, from what its box sees: (K, s, s) of 0 … 1 → bool (K, H, W)

    A box without area has no pixels, nor has what of a box lies outside of the picture.
    Raises ValueError where there are not as many, or a box is none.
    """
    boxes = _checked(crops, boxes)
    matrices, within = [], []
    for i, n, s in ((1, height, crops.shape[1]), (0, width, crops.shape[2])):
        low, high = boxes[:, i], boxes[:, i + 2]
        scale = s / np.where(high > low, high - low, 1)
        matrices.append(bin_means(-low * scale, (n - low) * scale, n, 1, s).astype(crops.dtype))
        centres = np.arange(n) + 0.5
        within.append((low[:, None] <= centres) & (centres < high[:, None]))
    rows, columns = matrices
    seen = rows @ crops @ columns.swapaxes(1, 2) >= 0.5
    return seen & within[0][:, :, None] & within[1][:, None, :]


def mask_loss(logits: Tensor, targets) -> Tensor:
    """The mean cross-entropy of logits (K, s, s) with what the boxes see; 0 if there are none."""
    loss = ops.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return loss / max(1, logits.size)


class MaskBatches:
    """Batches (x, boxes, targets) of those of `data.Scenes`, for a Trainer of a `MaskDetector`.

    boxes    the true ones of each picture, whose corners are moved by chance, with a deviation of
             ``jitter`` times the box's width and height: a detector's are not quite right either
    targets  float32 (ΣK, size, size), what those boxes see of their objects

    Raises ValueError for scenes without masks, or a jitter that is no number ≥ 0.
    """

    def __init__(self, batches: Batches, size: int, *, jitter: float):
        if batches.dataset.instances is None:
            raise ValueError(f"batches: {batches.dataset.name} has no masks")
        if not 0 <= jitter < math.inf:
            raise ValueError(f"jitter: expected a number ≥ 0, got {jitter}")
        self.batches, self.size, self.jitter = batches, size, jitter

    def __getitem__(self, step: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        x, labels, boxes, instances = self.batches[step]
        rng = np.random.default_rng([self.batches.seed, step, 2])  # 0 and 1 are the batches' own
        truths = objects_of(labels, boxes, instances)
        moved = [self._moved(picture, rng, x.shape[1:3]) for picture in truths]
        pairs = zip(truths, moved, strict=True)
        targets = [crop_masks(picture.masks, b, self.size) for picture, b in pairs]
        return x, moved, np.concatenate(targets)

    def _moved(self, picture: Objects, rng: np.random.Generator, shape) -> np.ndarray:
        """Boxes near the true ones, within the picture; a true one where nothing would be left."""
        boxes = picture.boxes
        size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        corners = boxes + self.jitter * size * rng.standard_normal(boxes.shape)
        low, high = np.sort(corners.reshape(-1, 2, 2), axis=1).swapaxes(0, 1)
        moved = clip(np.concatenate([low, high], axis=1), *shape)
        return np.where(area(moved)[:, None] > 0, moved, boxes)


def _checked(several: np.ndarray, boxes) -> np.ndarray:
    boxes = checked_boxes("boxes", boxes)
    if several.ndim != 3 or len(several) != len(boxes):
        raise ValueError(f"masks: expected ({len(boxes)}, H, W), got shape {several.shape}")
    return boxes
