"""YOLO's output: a grid of cells, in each a few boxes, in each box five numbers and the classes.

The picture is divided into rows × columns cells.  In cell (i, j), anchor a has a box of its own:

    x = (j + σ(t_x))·w_cell,  y = (i + σ(t_y))·h_cell               its centre is within the cell
    w = p_w·exp(t_w)·w_cell,  h = p_h·exp(t_h)·h_cell               p: the anchor's size, in cells
    confidence = σ(t_o)                                             P(an object) · IoU with it
    P(class k, given an object) = softmax(c)_k

and so the network has A·(5 + C) channels: for each anchor t_x, t_y, t_w, t_h, t_o and c.

Source: J. Redmon and A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2017, section 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import xp
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor
from tinydiff.vision.boxes import clip, to_corners
from tinydiff.vision.nms import nms
from tinydiff.vision.objects import Objects


@dataclasses.dataclass(frozen=True, eq=False)
class YoloGrid:
    """What the channels of a YOLO network's output mean.

    picture  (height, width) in pixels       anchors  (A, 2) widths and heights, in cells
    cells    (rows, columns)                 classes  how many
    Raises ValueError, naming the field, where something else comes.
    """

    picture: tuple[int, int]
    cells: tuple[int, int]
    anchors: np.ndarray
    classes: int

    def __post_init__(self) -> None:
        for name in ("picture", "cells"):
            value = getattr(self, name)
            if len(value) != 2 or min(value) < 1:
                raise ValueError(f"{name}: expected two numbers ≥ 1, got {value!r}")
        anchors = np.asarray(self.anchors, np.float64)
        if anchors.ndim != 2 or anchors.shape[1:] != (2,) or not len(anchors):
            raise ValueError(f"anchors: expected (A, 2), A ≥ 1, got shape {anchors.shape}")
        if not (np.isfinite(anchors) & (anchors > 0)).all():
            raise ValueError(f"anchors: expected widths and heights > 0, got {anchors.tolist()}")
        if self.classes < 1:
            raise ValueError(f"classes: expected at least 1, got {self.classes}")
        object.__setattr__(self, "anchors", anchors)

    @property
    def channels(self) -> int:
        """How many channels the network must have."""
        return len(self.anchors) * (5 + self.classes)

    @property
    def cell_size(self) -> np.ndarray:
        """Width and height of a cell in pixels."""
        return np.array(self.picture[::-1]) / self.cells[::-1]

    def by_anchor(self, output: Tensor) -> Tensor:
        """(N, rows, columns, A·(5 + C)) → (N, rows, columns, A, 5 + C)

        Raises ValueError for an output of another shape.
        """
        expected = (*self.cells, self.channels)
        if output.ndim != 4 or output.shape[1:] != expected:
            raise ValueError(f"output: expected (N, *{expected}), got shape {output.shape}")
        return ops.reshape(output, shape=(*output.shape[:3], len(self.anchors), 5 + self.classes))

    def boxes(self, t):
        """Corners in pixels of t_x, t_y, t_w, t_h: arrays (N, rows, columns, A, ≥ 4) → (…, 4)"""
        rows, columns = self.cells
        corner = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)[:, :, None]
        corner, anchors, cell = (
            xp.asarray(a, dtype=t.dtype) for a in (corner, self.anchors, self.cell_size)
        )
        with no_grad():
            centre = (corner + ops.sigmoid(t[..., :2]).data) * cell
            size = anchors * xp.exp(t[..., 2:4]) * cell
        return to_corners(xp.concatenate([centre, size], axis=-1), xp)


def decode(output, grid: YoloGrid) -> tuple[np.ndarray, np.ndarray]:
    """All boxes of an output (N, rows, columns, A·(5 + C)) and their scores, on the host.

    boxes (N, B, 4) corners in pixels, B = rows·columns·A; scores (N, B, C), confidence times
    probability of the class.
    """
    with no_grad():
        t = grid.by_anchor(output if isinstance(output, Tensor) else Tensor(output))
        scores = ops.sigmoid(t[..., 4:5]) * ops.softmax(t[..., 5:])
        boxes = grid.boxes(t.data)
    n = len(boxes)
    return backend.to_numpy(boxes).reshape(n, -1, 4), scores.numpy().reshape(n, -1, grid.classes)


def detect(
    output, grid: YoloGrid, *, score: float = 0.005, suppress: Callable = nms
) -> list[Objects]:
    """What a network's output says is in each picture, the surest first.

    A box counts for every class in which it scores more than ``score``; it is cut off at the
    border; ``suppress(boxes, scores, labels)`` leaves one of several: `nms`, or `soft_nms`.
    """
    found = []
    for boxes, scores in zip(*decode(output, grid), strict=True):
        box, label = np.nonzero(scores > score)
        boxes, scores = clip(boxes[box], *grid.picture), scores[box, label]
        kept, scores = suppress(boxes, scores, label)
        found.append(Objects(boxes[kept], label[kept], scores))
    return found
