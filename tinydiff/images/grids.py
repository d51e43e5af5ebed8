"""Pictures side by side, as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinydiff.images.ranges import check_array


def grid(
    images: np.ndarray, columns: int | None = None, *, pad: int = 2, fill: float = 0.0
) -> np.ndarray:
    """Pictures (N, H, W), (N, H, W, 1) or (N, H, W, 3) side by side, as one of the same dtype.

    They fill rows of ``columns`` (default: about as many as there are rows) from the upper left,
    with ``pad`` pixels of brightness ``fill`` (0 black, 1 white) around each.
    """
    images = check_array(images, "images")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must be (N, H, W), (N, H, W, 1 or 3), got shape {images.shape}")
    if pad < 0:
        raise ValueError(f"pad must not be negative, got {pad}")
    if not 0 <= fill <= 1:
        raise ValueError(f"fill must lie in [0, 1], got {fill}")
    n, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    rows = math.ceil(n / columns)
    background = round(fill * 255) if images.dtype == np.uint8 else fill
    cells = np.full(
        (rows * columns, height + pad, width + pad, channels), background, dtype=images.dtype
    )
    cells[:n, pad:, pad:] = images
    table = cells.reshape(rows, columns, height + pad, width + pad, channels)
    table = table.transpose(0, 2, 1, 3, 4)
    table = table.reshape(rows * (height + pad), columns * (width + pad), channels)
    # Every cell brought its padding above and to the left; this closes the right and the bottom.
    return np.pad(table, ((0, pad), (0, pad), (0, 0)), constant_values=background)


def side_by_side(columns: Sequence[np.ndarray], **settings) -> np.ndarray:
    """A `grid` whose columns are these pictures, each (N, H, W, C) from top to bottom."""
    rows = np.stack([check_array(column, "columns") for column in columns], axis=1)
    return grid(rows.reshape(-1, *rows.shape[2:]), len(columns), **settings)
