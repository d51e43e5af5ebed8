"""The regions of a semantic map: what hangs together and is of one class.

Each pixel of an object begins with a number of its own, and takes the largest of its eight
neighbours of the same class, until nothing changes.  The background is one region, whatever lies
between its parts.
"""

from __future__ import annotations

import numpy as np


def regions_of(maps: np.ndarray) -> np.ndarray:
    """Of maps (N, H, W), 0 for the background: int64 (N, H, W), 0 there, from 1 on in each map"""
    maps = np.asarray(maps)
    if maps.ndim != 3 or maps.dtype.kind not in "iu":
        raise ValueError(f"maps: expected integers (N, H, W), got {maps.dtype} of {maps.shape}")
    n, height, width = maps.shape
    numbers = np.where(maps != 0, np.arange(1, 1 + height * width).reshape(height, width), 0)
    shifts = [(i, j) for i in (0, 1, 2) for j in (0, 1, 2) if (i, j) != (1, 1)]
    around = np.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=0)
    same = [around[:, i : i + height, j : j + width] == maps for i, j in shifts]
    while True:
        padded = np.pad(numbers, ((0, 0), (1, 1), (1, 1)))
        larger = numbers
        for (i, j), alike in zip(shifts, same, strict=True):
            larger = np.maximum(larger, padded[:, i : i + height, j : j + width] * alike)
        if np.array_equal(larger, numbers):
            break
        numbers = larger
    found = [np.unique(np.append(0, each), return_inverse=True)[1][1:] for each in numbers]
    return np.array(found, np.int64).reshape(n, height, width)
