"""Boxes cut out of images and brought to one size, without rounding a corner.

A bilinear sample is linear in the rows and in the columns, and so is the mean of samples on a
grid: every crop is y = R x Cᵀ, as in `resize_bilinear2d`, which is the crop of the whole image.

Source: K. He et al., "Mask R-CNN", 2017, section 3 (RoIAlign).
"""

from __future__ import annotations

import numpy as np

from tinydiff.backend import xp
from tinydiff.kernels.window import pair
from tinydiff.ops import checks
from tinydiff.ops.resample import interpolation
from tinydiff.tensor import op


@op
def roi_align(x, *, boxes, size, samples=2):
    """Crops of x (N, H, W, C), one a box, image after image: → (ΣK, h, w, C)

    boxes    for each image an array (K, 4) of corners x0, y0, x1, y1 in its pixels, the first of
             which lies between 0 and 1; K may be 0 and differ.  Beyond the border its pixels go on
    size     (h, w): each box is divided into so many bins, and a number is
    samples  the mean of samples × samples points, evenly spread over its bin
    """
    checks.image("roi_align", x)
    checks.floating("roi_align", "the image", x)
    h, w = pair(size, "roi_align: size", 1)
    if not isinstance(samples, int) or samples < 1:
        raise ValueError(f"roi_align: samples is {samples!r}, expected an int ≥ 1")
    boxes = [np.asarray(b, np.float64) for b in boxes]
    if len(boxes) != len(x) or any(b.ndim != 2 or b.shape[1] != 4 for b in boxes):
        raise ValueError(
            f"roi_align: boxes have shapes {[b.shape for b in boxes]}, "
            f"expected (K, 4) for each of {len(x)} images"
        )
    if not all(np.isfinite(b).all() and (b[:, :2] <= b[:, 2:]).all() for b in boxes):
        raise ValueError("roi_align: boxes are not finite corners with x0 ≤ x1 and y0 ≤ y1")
    _, height, width, channels = x.shape
    rows, columns = (
        [
            xp.asarray(bin_means(b[:, i], b[:, i + 2], bins, samples, n), dtype=x.dtype)
            for b in boxes
        ]
        for i, bins, n in ((1, h, height), (0, w, width))
    )

    def crops(image, r, c):
        """(H, W, C), (K, h, H), (K, w, W) → (K, h, w, C)"""
        strips = r.reshape(-1, height) @ image.reshape(height, -1)
        return c[:, None] @ strips.reshape(len(r), h, width, channels)

    def back(g, r, c):
        """Rᵀ g C, summed over the boxes in the same product: (K, h, w, C) → (H, W, C)"""
        strips = c[:, None].swapaxes(2, 3) @ g
        strips = strips.reshape(len(r) * h, width * channels)
        return (r.reshape(-1, height).T @ strips).reshape(x.shape[1:])

    def rule(g):
        ends = np.cumsum([len(b) for b in boxes]).tolist()
        parts = [g[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        return xp.stack([back(*each) for each in zip(parts, rows, columns, strict=True)])

    return xp.concatenate([crops(*each) for each in zip(x, rows, columns, strict=True)]), (rule,)


def bin_means(low, high, bins: int, samples: int, n: int) -> np.ndarray:
    """For each stretch low … high (K,) of a line of n pixels, what makes bins of it: (K, bins, n)

    A bin is the mean of so many samples, evenly spread, each between two pixels' centres.
    """
    spread = (np.arange(bins * samples) + 0.5) / (bins * samples)
    places = low[:, None] + spread * (high - low)[:, None]
    return interpolation(places.ravel(), n).reshape(len(low), bins, samples, n).mean(axis=2)
