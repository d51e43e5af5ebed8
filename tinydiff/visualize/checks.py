"""Settings that are checked at more than one door here."""

from __future__ import annotations

import math
from numbers import Integral, Real


def at_least_one(**settings: int) -> None:
    """Raise ValueError that names the setting which is not an int ≥ 1."""
    for name, value in settings.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} is {value!r}, expected an int ≥ 1")


def positive(**settings: float) -> None:
    """Raise ValueError that names the setting which is not a finite number > 0."""
    for name, value in settings.items():
        if not isinstance(value, Real) or not 0 < value < math.inf:
            raise ValueError(f"{name} is {value!r}, expected a number > 0")
