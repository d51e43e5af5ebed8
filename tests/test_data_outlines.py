"""Each shape is what its name says: compared with polygons and discs, point by point."""

import math

import numpy as np
import pytest

from tinydiff.data.outlines import OUTLINES

every_shape = pytest.mark.parametrize("name", OUTLINES)


def around(*degrees: float, radius: float = 1) -> list[tuple[float, float]]:
    """Corners at these angles, clockwise from the top."""
    angles = np.deg2rad(degrees)
    return list(zip(radius * np.sin(angles), -radius * np.cos(angles), strict=True))


def rectangle(x0, y0, x1, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


HEART = (3 * math.sqrt(2) - 2) / 4
MIDDLE = 1 - math.sqrt(2) * HEART
INNER = (3 - math.sqrt(5)) / 2  # the notches of a pentagram

# Unions of polygons, and discs that are added to or cut from them: (x, y, radius).
POLYGONS = {
    "square": [around(45, 135, 225, 315)],
    "triangle": [around(0, 120, 240)],
    "star": [
        [corner for k in range(5) for corner in around(72 * k) + around(72 * k + 36, radius=INNER)]
    ],
    "cross": [rectangle(-0.96, -0.28, 0.96, 0.28), rectangle(-0.28, -0.96, 0.28, 0.96)],
    "bar": [rectangle(-0.96, -0.28, 0.96, 0.28)],
    "arrow": [[(0, -1), (1, 0), (-1, 0)], rectangle(-0.28, -0.1, 0.28, 0.96)],
    "heart": [
        [
            (0, MIDDLE - math.sqrt(2) * HEART),
            (math.sqrt(2) * HEART, MIDDLE),
            (0, 1),
            (-math.sqrt(2) * HEART, MIDDLE),
        ]
    ],
}
LOBE = HEART / math.sqrt(2)
DISCS = {
    "circle": [(0, 0, 1)],
    "ring": [(0, 0, 1)],
    "crescent": [(0, 0, 1)],
    "heart": [(LOBE, MIDDLE - LOBE, HEART), (-LOBE, MIDDLE - LOBE, HEART)],
}
HOLES = {"ring": (0, 0, 0.55), "crescent": (0.5, 0, 0.8)}

STAR = 5 * math.sin(math.radians(36)) * INNER
AREAS = {
    "circle": math.pi,
    "square": 2,
    "triangle": math.sqrt(27) / 4,
    "star": STAR,
    "cross": 4 * 0.96 * 0.28 * 2 - 0.56**2,
    "ring": math.pi * (1 - 0.55**2),
    "heart": (4 + math.pi) * HEART**2,
    "bar": 4 * 0.96 * 0.28,
    "arrow": 1 + 0.56 * 0.96,
}


def within(polygon, x, y):
    """By counting the edges that a ray to the right crosses."""
    inside = np.zeros(x.shape, bool)
    for (xa, ya), (xb, yb) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if ya == yb:
            continue
        crosses = ((ya > y) != (yb > y)) & (x < xa + (y - ya) / (yb - ya) * (xb - xa))
        inside ^= crosses
    return inside


def belongs(name, x, y):
    """Is a point in the shape?  Made of its corners and discs, with nothing of the package."""
    inside = np.zeros(x.shape, bool)
    for polygon in POLYGONS.get(name, ()):
        inside |= within(polygon, x, y)
    for cx, cy, radius in DISCS.get(name, ()):
        inside |= np.hypot(x - cx, y - cy) <= radius
    if name in HOLES:
        cx, cy, radius = HOLES[name]
        inside &= np.hypot(x - cx, y - cy) >= radius
    return inside


@every_shape
def test_a_point_is_inside_where_the_distance_is_negative(name, rng):
    x, y = rng.uniform(-1.2, 1.2, (2, 200_000))
    distance = OUTLINES[name](x, y)
    clear = abs(distance) > 1e-9
    assert clear.mean() > 0.999
    assert np.array_equal(distance[clear] < 0, belongs(name, x[clear], y[clear]))


@every_shape
def test_it_lies_in_the_unit_circle_and_touches_it(name):
    angle = np.linspace(0, 2 * np.pi, 36_001)
    at = lambda radius: OUTLINES[name](radius * np.cos(angle), radius * np.sin(angle)).min()
    assert at(1 + 1e-6) > 0
    assert at(1 - 1e-3) < 0


@every_shape
def test_distances_grow_no_faster_than_the_way(name, rng):
    """And as fast, next to the outline: so that edges are one pixel soft."""
    x, y = rng.uniform(-1.2, 1.2, (2, 100_000))
    step, angle = 1e-4, rng.uniform(0, 2 * np.pi, 100_000)
    shape = OUTLINES[name]
    change = shape(x + step * np.cos(angle), y + step * np.sin(angle)) - shape(x, y)
    assert abs(change).max() <= step * (1 + 1e-6)
    slope_x = shape(x + step, y) - shape(x - step, y)
    slope_y = shape(x, y + step) - shape(x, y - step)
    assert np.median(np.hypot(slope_x, slope_y)) == pytest.approx(2 * step, rel=1e-4)


@pytest.mark.parametrize("name", AREAS)
def test_soft_edges_cover_the_area_of_the_shape(name):
    """Σ clip(1/2 − distance, 0, 1) over pixels is the shape's area, whatever its place."""
    radius = 40
    x, y = (np.arange(-45, 46) + offset for offset in (0.3, 0.1))
    distance = radius * OUTLINES[name](*np.meshgrid(x / radius, y / radius))
    covered = np.clip(0.5 - distance, 0, 1).sum()
    assert covered == pytest.approx(AREAS[name] * radius**2, rel=4e-3)
