"""Colours that have a name, and backgrounds that have none.

Between its two RGB ends every shade of a colour bears its name: a pattern of two of them is still
a red one.  Backgrounds are tinted greys.  ``contrast`` says whether two pairs of shades can be told
apart wherever they meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

COLOURS: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = MappingProxyType(
    {
        "red": ((160, 5, 20), (245, 55, 50)),
        "orange": ((225, 100, 0), (255, 155, 45)),
        "yellow": ((230, 195, 0), (255, 240, 90)),
        "green": ((10, 105, 35), (75, 205, 85)),
        "blue": ((15, 40, 150), (65, 130, 250)),
        "purple": ((85, 20, 135), (165, 85, 225)),
        "pink": ((240, 105, 165), (255, 180, 210)),
        "white": ((228, 228, 228), (255, 255, 255)),
        "black": ((0, 0, 0), (48, 48, 48)),
    }
)
"""By name, the darkest and the lightest shade."""

_CONTRAST = 85  # of 255, the least distance of shades that meet
_GREYS = 50, 200  # of a background ...
_TINT = 28  # ... of which each channel differs by at most this much


def shades(rng: np.random.Generator, name: str, patterned: bool) -> np.ndarray:
    """Two shades of a colour, (2, 3): the same twice unless they are to make a pattern."""
    dark, light = np.float32(COLOURS[name])
    if patterned:
        where = np.float32([0.4 * rng.random(), 0.6 + 0.4 * rng.random()])
    else:
        where = np.float32([rng.random()]).repeat(2)
    return dark + where[:, None] * (light - dark)


def background(rng: np.random.Generator) -> np.ndarray:
    """Two shades of a tinted grey, float32 (2, 3); one in many is a little below 0."""
    low, high = _GREYS
    grey = low + (high - low) * rng.random()
    tint = _TINT * (2 * rng.random((2, 3)) - 1)
    apart = np.array([[-1], [1]]) * (6 + 12 * rng.random())
    return (grey + tint[:1] + tint[1:] * [[-0.25], [0.25]] + apart).astype(np.float32)


def contrast(one: np.ndarray, other: np.ndarray) -> bool:
    """Is every one of these shades (2, 3) far enough from every one of those?"""
    return bool((((one[:, None] - other) ** 2).sum(axis=-1) >= _CONTRAST**2).all())
