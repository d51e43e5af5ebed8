"""Built-in scenes: coloured shapes on a textured ground, their boxes, masks and captions.

No download, and as many different ones as wanted.  Shapes are painted as ``painting.py`` says, and
a pixel shows the last one that was painted of those to which it belongs (``canvas.py``).

Each scene comes from a generator of its own, seeded by (seed, split, number), and is made only of
what is rounded alike everywhere: the same bytes on every machine.  Scenes are not kept on the disk:
4,000 of 208×208 would take 0.7 GB there, and less than a minute to draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinydiff.data import painting
from tinydiff.data.canvas import Canvas, draw_scenes
from tinydiff.data.captions import Thing, describe
from tinydiff.data.colours import COLOURS, background, contrast, shades
from tinydiff.data.outlines import OUTLINES
from tinydiff.data.scenes import Scenes
from tinydiff.data.textures import plain

SMALLEST = 9  # pixels from end to end: below that not even people tell a star from a cross
SIZES = {"small": (0.16, 0.28), "": (0.34, 0.44), "large": (0.5, 0.64)}  # diameters, of the side
PLAIN_BELOW = 14  # pixels from end to end, where no pattern can be seen
PATIENCE = 40  # shapes tried for each that is wanted, until a scene is begun anew


def shapes(
    split: str = "train",
    count: int = 4_000,
    *,
    side: int = 64,
    objects: int | tuple[int, int] = (1, 8),
    seed: int = 0,
) -> Scenes:
    """``count`` scenes of ``side`` × ``side`` pixels with as many shapes as ``objects`` says.

    split    "train" or "test", and ``seed``, choose the random stream; scene i does not depend on
             ``count``
    side     from 32 on
    objects  a number from 1 to 8, or the least and the most, between which chance decides

    Shapes are ten (``outlines.OUTLINES``), of nine colours, turned at will, 9 pixels to 0.64 of the
    side across.  They may overlap, and reach over the border, but at least 70 % of each is seen.

    Raises ValueError for an unknown split, a count below 1, a side below 32, numbers of objects
    that are not as above, a negative seed.
    """
    if side < 32:
        raise ValueError(f"side must be at least 32, got {side}")

    def scene(rng, number):
        return _scene(rng, side, number)

    shape = side, side, 3
    return draw_scenes("shapes", scene, shape, tuple(OUTLINES), split, count, objects, seed)


def _scene(
    rng: np.random.Generator, side: int, number: int
) -> tuple[Canvas, list[int], str] | None:
    """A scene of so many shapes: its canvas, their labels, its caption; None if they don't fit."""
    ground = background(rng)
    canvas = Canvas(painting.ground(rng, side, ground))
    painted: list[tuple[Thing, np.ndarray]] = []
    for _ in range(PATIENCE * number):
        painted += _try_one(rng, canvas, ground, [fill for _, fill in painted])
        if len(painted) == number:
            things = [thing for thing, _ in painted]
            labels = [list(OUTLINES).index(thing.shape) for thing in things]
            covered = canvas.covered[0] / canvas.whole[0]
            return canvas, labels, describe(things, canvas.boxes(), covered, rng)
    return None


def _try_one(
    rng: np.random.Generator, canvas: Canvas, ground: np.ndarray, fills: list[np.ndarray]
) -> list[tuple[Thing, np.ndarray]]:
    """Paint a shape by chance where its shades differ from those of what is near, or nothing.

    ground, fills: the shades of the background and of the things on the canvas.
    """
    side = len(canvas.instances)
    thing = Thing(*(_any(rng, words) for words in (SIZES, COLOURS, OUTLINES)))
    low, high = SIZES[thing.size]
    diameter = max(SMALLEST, side * (low + (high - low) * rng.random()))
    radius = diameter / 2
    centre_x, centre_y = radius / 2 + (side - radius) * rng.random(2)
    column, row = math.floor(centre_x - radius) - 1, math.floor(centre_y - radius) - 1
    size = math.ceil(diameter) + 3

    texture = painting.any_texture(rng) if diameter >= PLAIN_BELOW else plain
    fill = shades(rng, thing.colour, texture is not plain)
    near = canvas.near((size, size), row, column)
    if not all(contrast(fill, other) for other in (ground, *(fills[k] for k in near))):
        return []
    turn = painting.any_turn(rng)
    at = painting.points(size, column - centre_x, row - centre_y, turn)
    look = painting.painted(rng, OUTLINES[thing.shape], radius, at, texture, fill)
    placed = canvas.place(*look, row, column)
    return [(thing, fill)] if placed else []


def _any(rng: np.random.Generator, names: Iterable[str]) -> str:
    names = tuple(names)
    return names[rng.integers(len(names))]
