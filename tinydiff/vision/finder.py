"""A detector as one thing: the settings it was made from, its network, the names of its classes.

finder = Finder.load("runs/detect/checkpoint.npz")
(found,) = finder(picture[None])                          # Objects
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydiff.models import Detector
from tinydiff.training import Trained, check_settings
from tinydiff.vision.looking import check_pictures, look_at
from tinydiff.vision.objects import Objects
from tinydiff.vision.yolo import YoloGrid, detect


class Finder(Trained):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    classes   names of the classes
    anchors   [[width, height], …] in cells
    detector  keyword settings of `Detector`

    Called as finder(images): uint8 (N, H, W, 3) → Objects with scores, for each, the surest first;
    H and W are multiples of ``finder.stride``.
    Raises ValueError for settings that lack something or have what there is not.
    """

    called, trained_by = "a detector", "examples/detect.py"

    def __init__(self, settings: Mapping):
        needed = "classes", "anchors", "detector"
        check_settings(settings, *needed)
        self.settings = {name: settings[name] for name in needed}
        self.classes, self.anchors = tuple(settings["classes"]), settings["anchors"]
        numbers = len(self.anchors) * (5 + len(self.classes))
        self.model = Detector(3, numbers, **settings["detector"])
        self.stride = self.model.stride
        self.grid(self.stride, self.stride)  # which checks classes and anchors

    def grid(self, height: int, width: int) -> YoloGrid:
        """What the network's output means for pictures of so many pixels."""
        stride = self.stride
        if height % stride or width % stride:
            raise ValueError(
                f"images of {height} × {width} pixels: expected multiples of {stride}, the cells'"
            )
        cells = height // stride, width // stride
        return YoloGrid((height, width), cells, self.anchors, len(self.classes))

    def __call__(self, images: np.ndarray) -> list[Objects]:
        check_pictures(images)
        grid = self.grid(*images.shape[1:3])
        return look_at(self.model, images, lambda output: detect(output, grid), doing="detecting")
