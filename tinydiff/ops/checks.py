"""What ops ask of their arguments, at the door: a wrong call is told which argument is wrong."""

from numbers import Integral

import numpy as np

from tinydiff.tensor import Tensor


def one_axis(name: str, axis, ndim: int) -> int:
    """``axis`` counted from the front."""
    if not isinstance(axis, Integral) or not -ndim <= axis < ndim:
        raise ValueError(f"{name}: axis {axis!r} is not an axis of an array that has {ndim}")
    return int(axis) % ndim


def axes(name: str, axis, ndim: int) -> tuple[int, ...]:
    """``axis`` (one, several, or None for all) counted from the front, in order."""
    if axis is None:
        return tuple(range(ndim))
    several = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    found = tuple(sorted(one_axis(name, a, ndim) for a in several))
    if len(set(found)) != len(found):
        raise ValueError(f"{name}: axis {axis} names an axis twice")
    return found


def values(name: str, x, axes: tuple[int, ...]) -> None:
    """Is there anything to reduce over these axes?"""
    if 0 in (x.shape[a] for a in axes):
        raise ValueError(f"{name}: shape {x.shape} has no values over axes {axes}")


def image(name: str, x) -> None:
    """Is x a batch of images?"""
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"{name}: expected a non-empty image (N, H, W, C), got shape {x.shape}")


def floating(name: str, label: str, x) -> None:
    """Does x hold floating-point numbers?"""
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: {label} must be floating point, got {x.dtype}; use .astype")


def integers(index):
    """Labels or positions as an array, on the host if they come from there.

    What is on a GPU cannot be looked at without waiting for it.
    """
    index = index.data if isinstance(index, Tensor) else index
    return index if hasattr(index, "dtype") else np.asarray(index)


def positions(name: str, index, low: int, high: int) -> None:
    """Are all of an index's entries integers in low … high?

    NumPy would raise somewhere deep inside; CuPy wraps around without a word.
    """
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: index must hold integers, got {index.dtype}")
    if index.size:
        smallest, largest = int(index.min()), int(index.max())
        if not low <= smallest <= largest <= high:
            raise ValueError(
                f"{name}: index runs from {smallest} to {largest}, expected {low} to {high}"
            )
