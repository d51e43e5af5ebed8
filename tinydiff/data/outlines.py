"""Ten shapes, each by its signed distance: negative inside, zero on the outline, 1 a unit.

An outline lies within the unit circle and touches it, so that a shape of radius r, turned by θ and
centred at c, has at the point p the distance

    r · d(R(−θ) (p − c) / r).

d is put together from half planes and circles: the larger of two distances is that of what both
shapes have in common, the smaller that of both together (J. C. Hart, "Sphere tracing", 1996).
Outside near a corner that is less than the way to the outline; the outline itself is exact.
y points down, as rows do, and the shapes stand upright.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Nothing here but + − × ÷ √, which are rounded alike on every machine, as sines are not.
_LENGTH, _WIDTH = 0.96, 0.28  # of half a bar: 0.96² + 0.28² = 1
_HOLE = 0.55  # radius of a ring's
_BITE, _BITE_AT = 0.8, 0.5  # radius and place of the disc that a crescent lacks
_HEART = (3 * np.sqrt(2) - 2) / 4  # radius of the lobes of a heart that fits
_TIP = np.sqrt((5 + np.sqrt(5)) / 8), (np.sqrt(5) - 1) / 4  # of a star: sine, cosine of 72° ...
_FOOT = np.sqrt((5 - np.sqrt(5)) / 8), -(np.sqrt(5) + 1) / 4  # ... and of 144°


def circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _length(x, y) - 1


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) - np.sqrt(0.5)


def triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of equal sides: three half planes at a distance of 1/2."""
    return np.maximum(y, np.sqrt(0.75) * abs(x) - y / 2) - 0.5


def star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of five half planes at least four: the second largest of their distances."""
    largest = second = np.full_like(x, -np.inf)
    for sin, cos in ((0, 1), _TIP, _FOOT, (-_TIP[0], _TIP[1]), (-_FOOT[0], _FOOT[1])):
        distance = sin * x - cos * y
        second = np.maximum(second, np.minimum(largest, distance))
        largest = np.maximum(largest, distance)
    return second - _TIP[1]


def cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(bar(x, y), bar(y, x))


def ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return abs(_length(x, y) - (1 + _HOLE) / 2) - (1 - _HOLE) / 2


def heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A square on its corner, and a disc on either of its upper edges."""
    across, down = abs(x), y - (1 - np.sqrt(2) * _HEART)
    edge = _HEART / np.sqrt(2)
    tilted = (across + abs(down)) / np.sqrt(2)
    return np.minimum(tilted, _length(across - edge, down + edge)) - _HEART


def crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(circle(x, y), _BITE - _length(x - _BITE_AT, y))


def bar(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x) - _LENGTH, abs(y) - _WIDTH)


def arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half of a square on its corner, and a shaft from within it to the unit circle."""
    head = np.maximum((abs(x) - y - 1) / np.sqrt(2), y)
    shaft = np.maximum(abs(x) - _WIDTH, abs(y - _LENGTH / 3) - 2 * _LENGTH / 3)
    return np.minimum(head, shaft)


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)


OUTLINES: Mapping[str, Distance] = MappingProxyType(
    {
        shape.__name__: shape
        for shape in (circle, square, triangle, star, cross, ring, heart, crescent, bar, arrow)
    }
)
"""By name, in the order of the labels."""
