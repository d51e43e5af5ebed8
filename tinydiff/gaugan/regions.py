"""The regions of a semantic map: what hangs together and is of one class.

Each pixel of an object begins with the number of its own place.  Then, until nothing changes,

    it finds the largest number among its eight neighbours of the same class;
    the place whose number it had so far is told of that one;
    and it takes what the place of that number has been told.

The first alone would do, a pixel a time; so whole regions join at once.  The background is one
region, whatever lies between its parts.

Source: Y. Shiloach and U. Vishkin, "An O(log n) parallel connectivity algorithm", 1982.
"""

from __future__ import annotations

import numpy as np


def regions_of(maps: np.ndarray) -> np.ndarray:
    """Of maps (N, H, W), 0 for the background: int64 (N, H, W), 0 there, from 1 on in each map

    Raises ValueError for other than integers (N, H, W), and for none.
    """
    maps = np.asarray(maps)
    if maps.ndim != 3 or maps.dtype.kind not in "iu":
        raise ValueError(f"maps: expected integers (N, H, W), got {maps.dtype} of {maps.shape}")
    if not maps.size:
        raise ValueError(f"maps: expected at least one pixel, got shape {maps.shape}")
    n, height, width = maps.shape
    places = np.arange(1, 1 + height * width, dtype=np.int32).reshape(height, width)
    numbers = np.where(maps != 0, places, 0)
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
        told = np.pad(larger.reshape(n, -1), ((0, 0), (1, 0)))  # at 0 the background, always 0
        here = which, *_ = np.nonzero(larger != numbers)
        np.maximum.at(told, (which, numbers[here]), larger[here])
        numbers = np.take_along_axis(told, larger.reshape(n, -1), axis=1).reshape(maps.shape)
    found = [np.unique(np.append(0, each), return_inverse=True)[1][1:] for each in numbers]
    return np.array(found, np.int64).reshape(n, height, width)
