"""Patterns of two shades: how much of the second one there is at each point, in [0, 1].

Each is a function (x, y, period, rng) of points in pixels.  A pattern with edges is known by the
signed distance to them, as shapes are (``outlines.py``): clip(1/2 + distance, 0, 1) is sharp and
has no jagged edges.  As there, only what is rounded alike on every machine.
"""

from __future__ import annotations

import numpy as np

_LATTICE = 16  # random numbers a side, from which clouds repeat


def plain(x, y, period, rng):
    return np.zeros_like(x)


def gradient(x, y, period, rng):
    """From one shade to the other and back, in six periods."""
    return abs(2 * _fraction(x / (6 * period)) - 1)


def stripes(x, y, period, rng):
    return _edge((0.25 - abs(_fraction(x / period) - 0.5)) * period)


def checks(x, y, period, rng):
    across, down = stripes(x, y, period, rng), stripes(y, x, period, rng)
    return across + down - 2 * across * down


def spots(x, y, period, rng):
    across, down = _fraction(x / period) - 0.5, _fraction(y / period) - 0.5
    return _edge((0.3 - np.sqrt(across * across + down * down)) * period)


def clouds(x, y, period, rng):
    """Random numbers on a lattice, smoothly joined, and half as strong ones on a finer lattice.

    Value noise (K. Perlin, "An image synthesizer", 1985) of two octaves.
    """
    values = rng.random((_LATTICE, _LATTICE)).astype(x.dtype)
    coarse = _joined(values, x / (2 * period), y / (2 * period))
    return (2 * coarse + _joined(values, x / period, y / period)) / 3


TEXTURES = (plain, gradient, stripes, checks, spots, clouds)


def _joined(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``values`` between the points of their lattice, by 3s² − 2s³ along each axis."""
    column, row = np.floor(x), np.floor(y)
    across, down = (s * s * (3 - 2 * s) for s in (x - column, y - row))
    column, row = column.astype(np.intp) % _LATTICE, row.astype(np.intp) % _LATTICE
    after, below = (column + 1) % _LATTICE, (row + 1) % _LATTICE
    upper = values[row, column] + across * (values[row, after] - values[row, column])
    lower = values[below, column] + across * (values[below, after] - values[below, column])
    return upper + down * (lower - upper)


def _fraction(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _edge(distance: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + distance, 0, 1)
