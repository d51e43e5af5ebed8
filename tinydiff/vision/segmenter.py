"""A segmenter as one thing: the settings it was made from, its network, the names of its classes.

segmenter = Segmenter.load("runs/segment-encoder-decoder/checkpoint.npz")
(mask,) = segmenter(picture[None])                        # 0 background, 1 + class elsewhere
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydiff.backend import to_numpy
from tinydiff.models import EncoderDecoder, FullResolution, SlidingWindow
from tinydiff.training import Trained, check_settings
from tinydiff.vision.looking import check_pictures, look_at

DESIGNS = {"window": SlidingWindow, "full": FullResolution, "encoder-decoder": EncoderDecoder}


class Segmenter(Trained):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    classes  names of the classes, without the background
    design   a name in DESIGNS, of the network
    network  keyword settings of it

    Called as segmenter(images): uint8 (N, H, W, 3) → the most likely class at each pixel, int64
    (N, H, W): 0 for the background, 1 + label for an object; all 0 if there is none.  H and W are
    multiples of ``segmenter.model.stride``.
    Raises ValueError for settings that lack something or have what there is not.
    """

    called, trained_by = "a segmenter", "examples/segment.py"

    def __init__(self, settings: Mapping):
        check_settings(settings, "classes", "design", "network")
        design, self.classes = settings["design"], tuple(settings["classes"])
        if design not in DESIGNS:
            raise ValueError(f"design: expected one of {', '.join(DESIGNS)}, got {design!r}")
        if not self.classes:
            raise ValueError("classes: expected at least 1, got none")
        self.model = DESIGNS[design](3, 1 + len(self.classes), **settings["network"])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        check_pictures(images)

        def classes(logits) -> np.ndarray:
            return to_numpy(logits.data.argmax(axis=-1))

        masks = look_at(self.model, images, classes, doing="segmenting")
        return np.array(masks, np.int64).reshape(images.shape[:3])
