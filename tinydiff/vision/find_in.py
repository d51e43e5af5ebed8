"""What a trained detector sees in a picture of the reader's own."""

from __future__ import annotations

import os

from tinydiff.data import read_picture
from tinydiff.images import save_png
from tinydiff.vision.draw import draw_objects
from tinydiff.vision.finder import Finder
from tinydiff.vision.mask_finder import MaskFinder
from tinydiff.vision.objects import describe

SCALE = 3


def find_in(
    file: str | os.PathLike,
    finder: Finder | MaskFinder,
    target: str | os.PathLike,
    *,
    side: int,
    score: float,
) -> list[str]:
    """Say in lines what is in the picture ``file``, and draw it, into the PNG ``target``.

    side   pixels that its longer side is made to have, as `data.read_picture` does
    score  how sure the detector must be

    Raises what `data.read_picture` raises.
    """
    picture = read_picture(file, side, multiple=finder.stride)
    found = finder(picture[None])[0].at_least(score)
    save_png(target, draw_objects(picture, found, finder.classes, scale=SCALE))
    height, width = picture.shape[:2]
    said = f"{len(found)} objects in {width} × {height} pixels.  See {target}."
    return [*describe(found, finder.classes), said]
