"""Which box of YOLO's grid answers for which object, and what it should say.

An object belongs to the cell that its centre is in, and there to the anchor whose shape is most
like its own (the greatest IoU, centres put together).  With the centre (x, y) and the size (w, h)
in cells, cell (i, j) and anchor p, the box should have

    σ(t_x) = x − j,  σ(t_y) = y − i,  t_w = ln(w/p_w),  t_h = ln(h/p_h).

A centre on the border between cells belongs to the right or lower one, on the border of the picture
to the last.  Objects are served in the order in which they are listed: one whose anchor is taken
has the best of those left in the cell, and none if all are.  It still counts as something that is
there, when boxes are told that nothing is.  Boxes without area are no objects.

Source: J. Redmon and A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2017, section 2; the rule
for taken anchors is our own (theirs lets the later object have it).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tinydiff.data import Batches
from tinydiff.vision.anchors import shape_iou
from tinydiff.vision.boxes import area, to_centres
from tinydiff.vision.objects import Objects, objects_of
from tinydiff.vision.yolo import YoloGrid


@dataclasses.dataclass(frozen=True, eq=False)
class YoloTargets:
    """What `yolo_loss` needs to know of a batch of N pictures, arrays on the host.

    place   (K, 4) integers: picture, row, column and anchor of each box that answers for an object
    t       (K, 4) what its σ(t_x), σ(t_y), t_w, t_h should be
    boxes   (K, 4) the object's corners in pixels
    shares  (K,)   the part of the picture that it covers
    labels  (K,)   its class
    truths  (N, M, 4) the corners of all objects of each picture; where there are fewer, zeros
    """

    place: np.ndarray
    t: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray
    labels: np.ndarray
    truths: np.ndarray

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.truths)


def assign(truths: Sequence[Objects], grid: YoloGrid) -> YoloTargets:
    """The targets of a batch, from what is in each of its pictures (which may be nothing).

    Raises ValueError for a box that reaches out of the picture (`clip` cuts it off), or a class
    that there is not.
    """
    height, width = grid.picture
    objects = [_with_area(picture, grid, n) for n, picture in enumerate(truths)]
    most = max([1, *map(len, objects)])
    corners = np.zeros((len(objects), most, 4))
    place, which = [], []
    for n, picture in enumerate(objects):
        corners[n, : len(picture)] = picture.boxes
        for k, where in _answering(picture, grid):
            place.append((n, *where))
            which.append((n, k))
    boxes = np.array([objects[n].boxes[k] for n, k in which]).reshape(-1, 4)
    place = np.array(place, np.int64).reshape(-1, 4)
    centres = to_centres(boxes) / np.tile(grid.cell_size, 2)
    t = np.concatenate(
        [centres[:, :2] - place[:, [2, 1]], np.log(centres[:, 2:] / grid.anchors[place[:, 3]])],
        axis=1,
    )
    labels = np.array([objects[n].labels[k] for n, k in which], np.int64)
    return YoloTargets(place, t, boxes, area(boxes) / (height * width), labels, corners)


class YoloBatches:
    """Batches (x, targets) of those of `data.Scenes`, for a Trainer whose loss is `yolo_loss`."""

    def __init__(self, batches: Batches, grid: YoloGrid):
        self.batches, self.grid = batches, grid

    def __getitem__(self, step: int) -> tuple[np.ndarray, YoloTargets]:
        x, labels, boxes, _ = self.batches[step]
        return x, assign(objects_of(labels, boxes), self.grid)


def _with_area(picture: Objects, grid: YoloGrid, n: int) -> Objects:
    height, width = grid.picture
    boxes, labels = picture.boxes, picture.labels
    outside = (boxes < 0).any(axis=1) | (boxes > [width, height, width, height]).any(axis=1)
    if outside.any():
        raise ValueError(
            f"truths[{n}]: expected boxes within {width} × {height} pixels, "
            f"got {boxes[outside][0].tolist()}; use clip"
        )
    if (labels >= grid.classes).any():
        raise ValueError(f"truths[{n}]: expected labels 0 … {grid.classes - 1}, got {labels.max()}")
    return picture[area(boxes) > 0]


def _answering(picture: Objects, grid: YoloGrid):
    """(which object, (row, column, anchor)) for each one that finds an anchor"""
    centres = to_centres(picture.boxes) / np.tile(grid.cell_size, 2)
    cells = np.minimum(centres[:, :2].astype(int), np.array(grid.cells[::-1]) - 1)
    likeness = shape_iou(centres[:, 2:], grid.anchors)
    taken = set()
    for k, (column, row) in enumerate(cells.tolist()):
        for anchor in np.argsort(-likeness[k], kind="stable").tolist():
            if (row, column, anchor) not in taken:
                taken.add((row, column, anchor))
                yield k, (row, column, anchor)
                break
