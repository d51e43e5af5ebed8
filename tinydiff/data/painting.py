"""How a shape is painted, and what it lies on: opacity and colour at the centre of each pixel.

A shape is known by its signed distance d (``outlines.py``), in pixels here, and has the opacity

    a(p) = clip(1/2 − d(p), 0, 1)

at the centre p of each pixel, column + 1/2 and row + 1/2.  So a pixel belongs to it if its centre
lies in it (a ≥ 1/2).  Its colour is a texture (``textures.py``) of two shades.  Nothing here but
what is rounded alike everywhere: the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinydiff.data.outlines import Distance
from tinydiff.data.textures import TEXTURES, plain

EIGHTH = np.sqrt(2) - 1  # the tangent of half of 45°


def ground(
    rng: np.random.Generator, side: int, fill: np.ndarray, *, patterned: bool = True
) -> np.ndarray:
    """A background of any texture, float32 (side, side, 3), of the two shades ``fill``."""
    texture = any_texture(rng) if patterned else plain
    period = max(6, side * (0.1 + 0.15 * rng.random()))
    x, y = points(side, 0, 0, any_turn(rng))
    return _mixed(fill, texture(np.float32(x), np.float32(y), period, rng))


def painted(
    rng: np.random.Generator,
    outline: Distance,
    radius: float,
    at: tuple[np.ndarray, np.ndarray],
    texture: Callable,
    fill: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Opacity (h, w) and colour (h, w, 3) of a shape, at points as it sees them: see `points`."""
    x, y = at
    distance = radius * outline(x / radius, y / radius)
    period = max(5, radius * (0.4 + 0.4 * rng.random()))
    colour = _mixed(fill, texture(np.float32(x), np.float32(y), period, rng))
    return np.clip(0.5 - distance, 0, 1), colour


def any_texture(rng: np.random.Generator) -> Callable:
    return TEXTURES[rng.integers(len(TEXTURES))]


def any_turn(rng: np.random.Generator) -> tuple[float, float]:
    """Cosine and sine of any angle: from −45° to 45°, and then quarter turns."""
    cos, sin = turn(EIGHTH * (2 * rng.random() - 1))
    for _ in range(rng.integers(4)):
        cos, sin = -sin, cos
    return cos, sin


def turn(t: float) -> tuple[float, float]:
    """Cosine and sine of the angle 2 arctan t: (1 − t²)/(1 + t²) and 2t/(1 + t²)."""
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


def points(
    size: int, left: float, top: float, turn: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """The centres of size × size pixels as a thing at the origin sees them that is turned so.

    left, top: the upper left corner of the first of them, seen from the thing's place.
    """
    cos, sin = turn
    x, y = left + 0.5 + np.arange(size), top + 0.5 + np.arange(size)[:, None]
    return cos * x + sin * y, cos * y - sin * x


def _mixed(fill: np.ndarray, share: np.ndarray) -> np.ndarray:
    """fill[0] where ``share`` (h, w) is 0, fill[1] where it is 1: (h, w, 3)."""
    return fill[0] + share[..., None] * (fill[1] - fill[0])
