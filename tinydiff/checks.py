"""Numbers that set how a function works, checked at its door."""

from __future__ import annotations

import math
from numbers import Integral, Real


def at_least_one(**settings: int) -> None:
    """Raise TypeError or ValueError that names the setting which is not an int ≥ 1."""
    for name, value in settings.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} is {value}, expected an int ≥ 1")


def positive(**settings: float) -> None:
    """Raise TypeError or ValueError that names the setting which is not a finite number > 0."""
    for name, value in settings.items():
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
        if not 0 < value < math.inf:  # NaN fails too
            raise ValueError(f"{name} is {value}, expected a number > 0")
