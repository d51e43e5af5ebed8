"""Pictures changed so that their class survives: a network that sees more of them learns more.

What a batch of `Batches` is asked for by name: ``flip`` there, ``shift`` here.  A shift by (dy, dx)
is a crop out of a picture that goes on beyond its border: pixel (i, j) comes from
(i − dy, j − dx), or, where that lies outside, from the nearest pixel of the border.

Source: A. Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
2012, section 4.1.
"""

from __future__ import annotations

import numpy as np


def shifted(images: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Each of the images (N, H, W, C) moved ``by`` its (down, right) pixels, integers (N, 2)."""
    by = np.asarray(by)
    if images.ndim != 4 or by.shape != (len(images), 2) or by.dtype.kind not in "iu":
        raise ValueError(
            f"by must be integers (N, 2) for images (N, H, W, C), got {by.dtype} of shape "
            f"{by.shape} for {images.shape}"
        )
    rows, columns = (
        np.clip(np.arange(side) - by[:, axis, None], 0, side - 1)
        for axis, side in enumerate(images.shape[1:3])
    )
    return images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]]
