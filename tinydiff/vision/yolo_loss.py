"""YOLO's loss: squared errors of boxes and confidences, and the cross-entropy of the classes.

Sums over the boxes of the grid, for a mean over the pictures of the batch.  A box that answers for
an object (`tinydiff.vision.yolo_targets`), which covers the share s of the picture, pays

    boxes        ½·(2 − s)·[(σ(t_x) − x̂)² + (σ(t_y) − ŷ)² + (t_w − ŵ)² + (t_h − ĥ)²]
    objects      ½·5·(σ(t_o) − IoU)²              with the IoU that its box has now, as a number
    classes      −ln softmax(c)_k                 for the object's class k

and the others

    background   ½·σ(t_o)²                        but not where the IoU with any object exceeds 0.6
    prior        ½·0.01·[(σ(t_x) − ½)² + (σ(t_y) − ½)² + t_w² + t_h²]

The last one pulls boxes to their anchors while nothing has been learned: the authors used it for
the first 12,800 pictures.

Source: J. Redmon and A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2017; the terms and weights
are those of its program, the region layer of darknet, with the settings of yolov2.
"""

from __future__ import annotations

from typing import NamedTuple

from tinydiff import backend, ops
from tinydiff.backend import xp
from tinydiff.tensor import Tensor
from tinydiff.vision.boxes import iou_of
from tinydiff.vision.yolo import YoloGrid
from tinydiff.vision.yolo_targets import YoloTargets

OBJECT, BACKGROUND, PRIOR = 5.0, 1.0, 0.01
OVERLAP = 0.6  # from here on a box is near enough to an object not to be called background


class YoloLoss(NamedTuple):
    """The terms, one number each, and their sum, which is what to minimise."""

    boxes: Tensor
    objects: Tensor
    classes: Tensor
    background: Tensor
    prior: Tensor | None

    @property
    def total(self) -> Tensor:
        total = self.boxes + self.objects + self.classes + self.background
        return total if self.prior is None else total + self.prior


def yolo_loss(
    output: Tensor, targets: YoloTargets, grid: YoloGrid, *, prior: bool = False
) -> YoloLoss:
    """The loss of an output (N, rows, columns, A·(5 + C)) whose targets are `assign`'s.

    prior: with the term that pulls boxes to their anchors.
    Raises ValueError where output and targets are not of as many pictures.
    """
    t = grid.by_anchor(output)
    n = len(targets)
    if len(output) != n:
        raise ValueError(f"targets: of {n} pictures, the output of {len(output)}")
    place = tuple(targets.place.T)
    wanted, boxes, shares, truths = (
        backend.asarray(a, output.dtype)
        for a in (targets.t, targets.boxes, targets.shares, targets.truths)
    )
    predicted = grid.boxes(t.data)
    near = iou_of(predicted[:, :, :, :, None], truths[:, None, None, None], xp).max(axis=-1)
    answers = xp.zeros(near.shape, bool)
    answers[tuple(map(backend.asarray, place))] = True
    now = iou_of(predicted[tuple(map(backend.asarray, place))], boxes, xp)

    of_objects = ops.getitem(t, index=place)
    errors = ops.square(_shape(of_objects) - wanted).sum(axis=-1)
    confidence = ops.sigmoid(t[..., 4])
    background = ops.square(confidence) * (~answers & (near <= OVERLAP)).astype(output.dtype)
    pull = None
    if prior:
        middle = xp.asarray([0.5, 0.5, 0, 0], dtype=output.dtype)
        away = ops.square(_shape(t) - middle).sum(axis=-1) * (~answers).astype(output.dtype)
        pull = away.sum() * (0.5 * PRIOR / n)
    return YoloLoss(
        boxes=(errors * (2 - shares)).sum() * (0.5 / n),
        objects=ops.square(ops.sigmoid(of_objects[:, 4]) - now).sum() * (0.5 * OBJECT / n),
        classes=ops.cross_entropy(of_objects[:, 5:], targets.labels, reduction="sum") * (1 / n),
        background=background.sum() * (0.5 * BACKGROUND / n),
        prior=pull,
    )


def _shape(t: Tensor) -> Tensor:
    """σ(t_x), σ(t_y), t_w, t_h: (…, 5 + C) → (…, 4)"""
    return ops.concat([ops.sigmoid(t[..., :2]), t[..., 2:4]])
