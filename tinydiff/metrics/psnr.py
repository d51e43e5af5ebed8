"""Peak signal-to-noise ratio: how exactly pictures come back.

    PSNR = 10 log₁₀(255² / mean squared error), in decibels

of each picture by itself: 6 decibels more are errors half as large.  It counts pixels, and prefers
what is blurred to what is sharp and a pixel beside; how things look, distances in features tell.

Source: A. Horé and D. Ziou, "Image Quality Metrics: PSNR vs. SSIM", 2010, section 2.1.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff.metrics.estimate import Estimate

PEAK = 255.0


def psnr(pictures: np.ndarray, originals: np.ndarray) -> Estimate:
    """The mean over pictures, uint8 (N, H, W, C), and its standard error; infinite if one is exact.

    Raises TypeError for what is not bytes, ValueError unless both have one shape, and N ≥ 1.
    """
    for name, images in (("pictures", pictures), ("originals", originals)):
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            kind = getattr(images, "dtype", type(images).__name__)
            raise TypeError(f"{name}: expected a NumPy array of uint8, got {kind}")
        if images.ndim != 4 or not images.size:
            raise ValueError(f"{name}: expected (N, H, W, C), N ≥ 1, got shape {images.shape}")
    if pictures.shape != originals.shape:
        raise ValueError(
            f"pictures: expected shape {originals.shape} as of the originals, got {pictures.shape}"
        )
    squared = np.square(pictures.astype(np.float64) - originals).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10(PEAK**2 / squared)
    mean = float(decibels.mean())
    error = float(decibels.std() / math.sqrt(max(len(decibels) - 1, 1))) if mean < np.inf else 0.0
    return Estimate(mean, error)
