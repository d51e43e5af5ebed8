"""Semantic maps as pictures that one can paint: a colour for each class, and black for none.

    class 0, the background: black                       class 1 + label: `colour_of` label

A map goes to a picture and comes back exactly.  In a picture that somebody has painted, a pixel is
of the class whose colour it has, and of no other: where a soft brush, or a JPEG, has mixed two
colours, nobody knows which is meant, so that is an error which says where.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from tinydiff.data import read_pixels
from tinydiff.vision.draw import colour_of

BACKGROUND = "background"


class Palette:
    """The colours of these classes: names, without the background.

    names    BACKGROUND, then the classes
    colours  uint8 (1 + classes, 3), all different
    """

    def __init__(self, classes: Sequence[str]):
        self.names = (BACKGROUND, *classes)
        colours = [(0, 0, 0), *(colour_of(label) for label in range(len(classes)))]
        self.colours = np.array(colours, np.uint8)
        if len(np.unique(_as_numbers(self.colours))) < len(colours):
            raise ValueError(f"classes: there are no {len(classes)} colours that all differ")

    def __str__(self) -> str:
        """Every class and its colour: "background #000000, circle #ff3333, …" """
        pairs = zip(self.names, self.colours, strict=True)
        return ", ".join(f"{name} {_written(colour)}" for name, colour in pairs)

    def paint(self, maps: np.ndarray) -> np.ndarray:
        """Maps of classes, integers (…, H, W), as pictures: uint8 (…, H, W, 3)

        Raises TypeError or ValueError for other numbers.
        """
        maps = np.asarray(maps)
        if maps.dtype.kind not in "iu":
            raise TypeError(f"maps: expected integers, got {maps.dtype}")
        most = len(self.colours) - 1
        if maps.size and not 0 <= maps.min() <= maps.max() <= most:
            raise ValueError(f"maps: expected classes 0 … {most}, got {maps.min()} … {maps.max()}")
        return self.colours[maps]

    def classes_of(self, picture: np.ndarray) -> np.ndarray:
        """The map that a picture, uint8 (H, W, 3), shows: int64 (H, W)

        Raises ValueError that names the first pixel of another colour, and tells the palette;
        TypeError or ValueError for what is no such picture.
        """
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
            kind = getattr(picture, "dtype", None) or type(picture).__name__
            raise TypeError(f"picture: expected a NumPy array of uint8, got {kind}")
        if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise ValueError(f"picture: expected (H, W, 3), got shape {picture.shape}")
        known = _as_numbers(self.colours)
        order = np.argsort(known)
        found = _as_numbers(picture)
        near = np.searchsorted(known, found, sorter=order).clip(max=len(known) - 1)
        classes = order[near]
        strange = known[classes] != found
        if strange.any():
            row, column = (int(axis[0]) for axis in np.nonzero(strange))
            others = "it alone" if strange.sum() == 1 else f"and {strange.sum() - 1:,} others"
            raise ValueError(
                f"row {row}, column {column} ({others}) has {_written(picture[row, column])}, the "
                f"colour of no class; expected {self}, without soft edges"
            )
        return classes

    def read(self, path: str | os.PathLike, side: int) -> np.ndarray:
        """The map painted in a file, of any square size: int64 (side, side)

        Each pixel of the map is of the class at its centre in the picture.  Raises ValueError if
        there are other colours in it, or it is not square, or no picture, and FileNotFoundError and
        its like.
        """
        picture, name = read_pixels(path), os.fspath(path)
        height, width = picture.shape[:2]
        if height != width:
            raise ValueError(f"{name} is {width} × {height} pixels, expected a square map")
        try:
            classes = self.classes_of(picture)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return nearest(classes, side)


def nearest(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps (…, H, W) at another size, (…, side, side): each pixel as at its centre"""
    if side < 1:
        raise ValueError(f"side is {side}, expected at least 1")
    rows, columns = ((2 * np.arange(side) + 1) * n // (2 * side) for n in maps.shape[-2:])
    return maps[..., rows[:, None], columns]


def _as_numbers(colours: np.ndarray) -> np.ndarray:
    """Red, green and blue as one number each"""
    return colours.astype(np.int64) @ [1 << 16, 1 << 8, 1]


def _written(colour: np.ndarray) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour.tolist())
