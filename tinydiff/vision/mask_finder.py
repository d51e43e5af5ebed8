"""A detector and its masks as one thing, as `Finder` is a detector.

finder = MaskFinder.load("runs/segment-instances/checkpoint.npz")
(found,) = finder(picture[None])                          # Objects with masks

Source: K. He et al., "Mask R-CNN", 2017, section 3.1: the boxes are found first, as ever, and only
those that are left get a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinydiff import kernels, ops
from tinydiff.backend import asarray
from tinydiff.images import to_float
from tinydiff.models import MaskDetector
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.training import Trained, check_settings
from tinydiff.vision.finder import Finder
from tinydiff.vision.looking import BATCH, check_pictures
from tinydiff.vision.masks import paste_masks
from tinydiff.vision.objects import Objects

MOST, LEAST = 100, 0.02  # masks of a picture, and the score of what gets one


class MaskFinder(Trained):
    """Made from ``settings``, those of `Finder`, and

    mask_head  keyword settings of `MaskHead`

    Called as finder(images): uint8 (N, H, W, 3) → Objects with scores and masks, as a `Finder`;
    but of each picture the 100 surest at most, as in the paper, and what scores 0.02 or more.
    Raises ValueError for settings that lack something or have what there is not.
    """

    called, trained_by = "a mask detector", "examples/segment_instances.py"

    def __init__(self, settings: Mapping):
        check_settings(settings, "mask_head")
        self.finder = Finder(settings)
        self.classes, self.stride = self.finder.classes, self.finder.stride
        self.model = MaskDetector(self.finder.model, **settings["mask_head"])

    def __call__(self, images: np.ndarray) -> list[Objects]:
        found = [objects.at_least(LEAST)[:MOST] for objects in self.finder(images)]
        return self.masks(images, found)

    def masks(self, images: np.ndarray, found: list[Objects]) -> list[Objects]:
        """What was found in uint8 images (N, H, W, 3), with the masks that the network gives.

        Raises ValueError where they are not of as many pictures, or images are none.
        """
        from tqdm import trange  # see tinydiff/training/progress.py

        check_pictures(images)
        if len(images) != len(found):
            raise ValueError(f"found: expected what is in {len(images)} images, got {len(found)}")
        self.model.eval()
        masked = []
        with no_grad(), kernels.single_threaded_blas, team_of(self.model):
            for start in trange(0, len(images), BATCH, desc="masks", delay=2, leave=False):
                x = asarray(to_float(images[start : start + BATCH]))
                several = found[start : start + BATCH]
                seen = ops.sigmoid(self.model(x, [objects.boxes for objects in several])).numpy()
                ends = np.cumsum([len(objects) for objects in several])[:-1]
                for objects, crops in zip(several, np.split(seen, ends), strict=True):
                    pixels = paste_masks(crops, objects.boxes, *images.shape[1:3])
                    masked.append(replace(objects, masks=pixels))
        return masked
