"""Built-in single shapes: ten classes in colour, as many pictures as wanted, and no download.

What `digits` are to handwriting these are to scenes (``shapes.py``): one thing to a picture, large,
nearly upright and in the middle, of a light colour on a dark ground, so that nothing is asked but
what it is.  Each picture comes from a generator of its own, seeded by (seed, split, number), and is
painted as scenes are: the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np

from tinydiff.data import painting
from tinydiff.data.canvas import SPLITS
from tinydiff.data.colours import COLOURS, background, contrast, shades
from tinydiff.data.dataset import Dataset
from tinydiff.data.outlines import OUTLINES
from tinydiff.data.textures import plain

SIDE = 32
RADIUS = 0.28, 0.38  # of the side
OFF = 3  # pixels from the middle, up or down and across, at most
TILT = 0.13  # tangent of half of 15°, either way
DARK = 0.3  # times the greys of a scene's ground
BRIGHT = tuple(name for name in COLOURS if name != "black")


def single_shapes(split: str = "train", count: int = 12_000, *, seed: int = 0) -> Dataset:
    """``count`` colour pictures 32×32 of the ten shapes (`outlines.OUTLINES`), one in each.

    ``split`` ("train" or "test") and ``seed`` choose the random stream; picture i does not depend
    on ``count``.  Raises ValueError for an unknown split, a count below 1 or a negative seed.
    """
    from tqdm import trange

    if split not in SPLITS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    images, labels = np.empty((count, SIDE, SIDE, 3), np.uint8), np.empty(count, np.int64)
    for i in trange(count, desc="drawing single shapes", delay=2, leave=False):
        rng = np.random.default_rng([seed, SPLITS.index(split), i])
        labels[i] = rng.integers(len(OUTLINES))
        images[i] = _picture(rng, tuple(OUTLINES.values())[labels[i]])
    return Dataset(f"shapes-{split}", images, labels, tuple(OUTLINES))


def _picture(rng: np.random.Generator, outline) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3)"""
    texture, dark = painting.any_texture(rng), (DARK * background(rng)).clip(0)
    while True:
        fill = shades(rng, BRIGHT[rng.integers(len(BRIGHT))], texture is not plain)
        if contrast(fill, dark):
            break
    low, high = RADIUS
    radius = SIDE * (low + (high - low) * rng.random())
    left, top = OFF * (2 * rng.random(2) - 1) - SIDE / 2
    at = painting.points(SIDE, left, top, painting.turn(TILT * (2 * rng.random() - 1)))
    image = painting.ground(rng, SIDE, dark)
    opacity, colour = painting.painted(rng, outline, radius, at, texture, fill)
    return np.rint(image + opacity[..., None] * (colour - image)).astype(np.uint8)
