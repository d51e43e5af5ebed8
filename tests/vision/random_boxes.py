"""Boxes for the tests: random ones, on a coarse grid so that ties and shared corners are common."""

import numpy as np


def boxes_on_grid(rng, count, *, size=8, step=1.0):
    """Corners (count, 4), whole multiples of the step in 0 … size; some have no area."""
    corners = np.sort(rng.integers(0, int(size / step) + 1, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4) * step


def boxes_anywhere(rng, count, *, size=100.0, least=1.0):
    """Corners (count, 4) of boxes within a square, each side at least so long."""
    low = rng.uniform(0, size - least, (count, 2))
    return np.hstack([low, rng.uniform(low + least, size)])
