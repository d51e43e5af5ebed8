"""Built-in scenes: coloured shapes on a textured ground, their boxes, masks and captions.

No download, and as many different ones as wanted.  Shapes are painted as ``painting.py`` says, and
a pixel shows the last one that was painted of those to which it belongs (``canvas.py``).

Each scene comes from a generator of its own, seeded by (seed, split, number), and is made only of
what is rounded alike everywhere: the same bytes on every machine.  Scenes are not kept on the disk:
4,000 of 208×208 would take 0.7 GB there, and less than a minute to draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydiff.data import painting
from tinydiff.data.canvas import Canvas, draw_scenes
from tinydiff.data.captions import Thing, describe
from tinydiff.data.colours import background, contrast, shades
from tinydiff.data.outlines import OUTLINES
from tinydiff.data.scenes import Scenes
from tinydiff.data.textures import plain
from tinydiff.data.world import SIZES, World

SMALLEST = 9  # pixels from end to end: below that not even people tell a star from a cross
PLAIN_BELOW = 14  # pixels from end to end, where no pattern can be seen
PATIENCE = 40  # shapes tried for each that is wanted, until a scene is begun anew


def shapes(
    split: str = "train",
    count: int = 4_000,
    *,
    side: int = 64,
    objects: int | tuple[int, int] = (1, 8),
    seed: int = 0,
    world: World | None = None,
    keep: Callable[[str], bool] | None = None,
) -> Scenes:
    """``count`` scenes of ``side`` × ``side`` pixels with as many shapes as ``objects`` says.

    split    "train" or "test", and ``seed``, choose the random stream; scene i does not depend on
             ``count``
    side     from 32 on
    objects  a number from 1 to 8, or the least and the most, between which chance decides
    world    what there is to be seen; by default, everything
    keep     keep(caption): whether there may be such a scene; one it refuses is drawn anew

    Shapes are ten (``outlines.OUTLINES``), of nine colours, turned at will, 9 pixels to 0.64 of the
    side across.  They may overlap, and reach over the border, but at least 70 % of each is seen.

    Raises ValueError for an unknown split, a count below 1, a side below 32, numbers of objects
    that are not as above, a negative seed, a world and ``keep`` of which no scene can be found.
    """
    if side < 32:
        raise ValueError(f"side must be at least 32, got {side}")

    world = World() if world is None else world

    def scene(rng, number):
        return _scene(rng, side, number, world)

    def allowed(caption):
        return world.allows(caption) and (keep is None or keep(caption))

    shape = side, side, 3
    return draw_scenes(
        "shapes", scene, shape, tuple(OUTLINES), split, count, objects, seed, allowed
    )


def _scene(
    rng: np.random.Generator, side: int, number: int, world: World
) -> tuple[Canvas, list[int], str] | None:
    """A scene of so many shapes: its canvas, their labels, its caption; None if they don't fit."""
    ground = background(rng)
    canvas = Canvas(painting.ground(rng, side, ground, patterned=world.patterned))
    painted: list[tuple[Thing, np.ndarray]] = []
    for _ in range(PATIENCE * number):
        painted += _try_one(rng, canvas, ground, [fill for _, fill in painted], world)
        if len(painted) == number:
            if not world.cut and canvas.covered.any():
                return None
            things = [thing for thing, _ in painted]
            labels = [list(OUTLINES).index(thing.shape) for thing in things]
            covered = canvas.covered[0] / canvas.whole[0]
            return canvas, labels, describe(things, canvas.boxes(), covered, rng)
    return None


def _try_one(
    rng: np.random.Generator,
    canvas: Canvas,
    ground: np.ndarray,
    fills: list[np.ndarray],
    world: World,
) -> list[tuple[Thing, np.ndarray]]:
    """Paint a shape by chance where its shades differ from those of what is near, or nothing.

    ground, fills: the shades of the background and of the things on the canvas.
    """
    side = len(canvas.instances)
    thing = Thing(*(_any(rng, words) for words in (world.sizes, world.colours, world.shapes)))
    low, high = SIZES[thing.size]
    diameter = max(SMALLEST, side * (low + (high - low) * rng.random()))
    radius = diameter / 2
    margin = radius / 2 if world.cut else radius + 0.5  # of which the half is the soft edge
    centre_x, centre_y = margin + (side - 2 * margin) * rng.random(2)
    column, row = math.floor(centre_x - radius) - 1, math.floor(centre_y - radius) - 1
    size = math.ceil(diameter) + 3

    patterned = world.patterned and diameter >= PLAIN_BELOW
    texture = painting.any_texture(rng) if patterned else plain
    fill = shades(rng, thing.colour, texture is not plain)
    near = canvas.near((size, size), row, column)
    if not all(contrast(fill, other) for other in (ground, *(fills[k] for k in near))):
        return []
    turn = painting.any_turn(rng) if world.turned else (1.0, 0.0)
    at = painting.points(size, column - centre_x, row - centre_y, turn)
    look = painting.painted(rng, OUTLINES[thing.shape], radius, at, texture, fill)
    placed = canvas.place(*look, row, column)
    return [(thing, fill)] if placed else []


def _any(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[rng.integers(len(names))]
