"""Maps of numbers as pictures: filters, gradients, activations, what speaks for a class.

Each map is divided by its own scale, a high percentile of its absolute values, for the few largest
would leave all else dark.

    from 0 on, one number a pixel       black, red, yellow, white
    signed, one number a pixel          blue below zero, white at zero, red above
    signed, three numbers a pixel       colours around middle grey
"""

from __future__ import annotations

import numpy as np

from tinydiff.checks import at_least_one
from tinydiff.images import to_uint8


def as_pictures(
    maps: np.ndarray,
    *,
    signed: bool,
    over: np.ndarray | None = None,
    percentile: float = 99.5,
) -> np.ndarray:
    """uint8 (N, H, W, 3), of maps (N, H, W) or (N, H, W, C), C 1 or 3.

    signed  whether a number below zero says something; if not, it is shown as zero
    over    pictures, uint8 (N, H, W, 1 or 3), of which the maps lie on top, half transparent
    A map of zeros is one colour.
    Raises TypeError or ValueError, naming the argument, for anything else.
    """
    maps = _check(maps, signed, over, percentile)
    size = maps if signed else np.maximum(maps, 0)
    scales = np.percentile(np.abs(size), percentile, axis=(1, 2, 3), keepdims=True)
    # Where most of a map is zero its percentile is; then its largest value is the scale.
    scales = np.where(scales > 0, scales, np.abs(size).max(axis=(1, 2, 3), keepdims=True))
    parts = np.clip(size / np.where(scales > 0, scales, 1), -1, 1)
    if maps.shape[3] == 3:
        colours = (1 + parts) / 2 if signed else parts
    elif signed:
        colours = 1 - np.concatenate(
            [np.maximum(-parts, 0), np.abs(parts), np.maximum(parts, 0)], axis=3
        )
    else:
        colours = np.clip(3 * parts - np.arange(3), 0, 1)
    if over is not None:
        colours = (colours + over / 255) / 2
    return to_uint8(colours, (0, 1))


def as_cells(pictures: np.ndarray, side: int) -> np.ndarray:
    """Pictures uint8 (N, H, W, 1 or 3) for a table: in colour, the longer side ``side`` pixels.

    Each pixel becomes a block; where its side is no whole number, some are larger than others.
    Raises TypeError or ValueError for other arrays, or for a side below 1.
    """
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8:
        kind = getattr(pictures, "dtype", None) or type(pictures).__name__
        raise TypeError(f"pictures: expected a NumPy array of uint8, got {kind}")
    if pictures.ndim != 4 or 0 in pictures.shape or pictures.shape[3] not in (1, 3):
        raise ValueError(f"pictures: expected (N, H, W, 1 or 3), got shape {pictures.shape}")
    at_least_one(side=side)
    height, width = pictures.shape[1:3]
    longest = max(height, width)
    sizes = [max(1, side * n // longest) for n in (height, width)]
    rows, columns = (np.arange(m) * n // m for m, n in zip(sizes, (height, width), strict=True))
    large = pictures[:, rows][:, :, columns]
    return np.broadcast_to(large, (*large.shape[:3], 3))


def _check(maps, signed, over, percentile) -> np.ndarray:
    if not isinstance(maps, np.ndarray) or maps.dtype.kind != "f":
        kind = getattr(maps, "dtype", None) or type(maps).__name__
        raise TypeError(f"maps: expected a NumPy array of floats, got {kind}")
    if maps.ndim == 3:
        maps = maps[..., None]
    if maps.ndim != 4 or 0 in maps.shape or maps.shape[3] not in (1, 3):
        raise ValueError(f"maps: expected (N, H, W) or (N, H, W, 1 or 3), got shape {maps.shape}")
    if not np.isfinite(maps).all():
        raise ValueError("maps: they hold NaN or infinity")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile is {percentile}, expected 0 < percentile ≤ 100")
    if over is not None and (
        over.dtype != np.uint8
        or over.shape[:3] != maps.shape[:3]
        or over.shape[3:] not in ((1,), (3,))
    ):
        raise ValueError(
            f"over: expected uint8 {(*maps.shape[:3], '1 or 3')}, got {over.dtype} {over.shape}"
        )
    return maps
