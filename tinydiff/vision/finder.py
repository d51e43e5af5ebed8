"""A detector as one thing: the settings it was made from, its network, the names of its classes.

finder = Finder.load("runs/detect/checkpoint.npz")
(found,) = finder(picture[None])                          # Objects
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from tinydiff.backend import asarray
from tinydiff.images import to_float
from tinydiff.models import Detector
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.training import load_run
from tinydiff.vision.objects import Objects
from tinydiff.vision.yolo import YoloGrid, detect

BATCH = 16


class Finder:
    """Made from ``settings``, which go into the checkpoint beside the weights:

    classes   names of the classes
    anchors   [[width, height], …] in cells
    detector  keyword settings of `Detector`

    Called as finder(images): uint8 (N, H, W, 3) → Objects with scores, for each, the surest first;
    H and W are multiples of ``finder.model.stride``.
    Raises ValueError for settings that lack something or have what there is not.
    """

    def __init__(self, settings: Mapping):
        needed = ("classes", "anchors", "detector")
        missing = ", ".join(name for name in needed if name not in settings)
        if missing:
            raise ValueError(f"settings: they lack {missing}; expected {', '.join(needed)}")
        self.settings = {name: settings[name] for name in needed}
        self.classes, self.anchors = tuple(settings["classes"]), settings["anchors"]
        numbers = len(self.anchors) * (5 + len(self.classes))
        self.model = Detector(3, numbers, **settings["detector"])
        self.grid(self.model.stride, self.model.stride)  # which checks classes and anchors

    @classmethod
    def load(cls, path: str | os.PathLike) -> Finder:
        """From the checkpoint of a training run, with its averaged weights.

        Raises FileNotFoundError, or CheckpointError for a file that holds no such run.
        """
        return load_run(path, cls, kind="a detector", example="examples/detect.py")

    def grid(self, height: int, width: int) -> YoloGrid:
        """What the network's output means for pictures of so many pixels."""
        stride = self.model.stride
        if height % stride or width % stride:
            raise ValueError(
                f"images of {height} × {width} pixels: expected multiples of {stride}, the cells'"
            )
        cells = height // stride, width // stride
        return YoloGrid((height, width), cells, self.anchors, len(self.classes))

    def __call__(self, images: np.ndarray) -> list[Objects]:
        from tqdm import trange  # see tinydiff/training/progress.py

        if not isinstance(images, np.ndarray) or images.ndim != 4 or images.shape[3] != 3:
            got = getattr(images, "shape", type(images).__name__)
            raise ValueError(f"images: expected an array (N, H, W, 3), got {got}")
        grid = self.grid(*images.shape[1:3])
        self.model.eval()
        found = []
        with no_grad(), team_of(self.model):
            for start in trange(0, len(images), BATCH, desc="detecting", delay=2, leave=False):
                x = to_float(images[start : start + BATCH])
                found += detect(self.model(asarray(x)), grid)
        return found
