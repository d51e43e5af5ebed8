"""A picture on which one thing is painted after the other, and which pixel shows which of them.

A thing is an opacity a(p) in [0, 1] and a colour c(p):

    image(p) ← image(p) + a(p) (c(p) − image(p)).

Pixel p belongs to it if a(p) ≥ 1/2 there, and shows the last thing painted to which it belongs:
later ones cover earlier ones.  Nothing may be nearly hidden: each thing shows at least VISIBLE of
the pixels it would have if it were alone on a canvas without borders, or the last is not painted.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np

from tinydiff.data.scenes import NOTHING, Scenes

VISIBLE = 0.7
MOST = 8  # things on a canvas
BEGINNINGS = 100  # of one scene, in a row, that came to a bad end: there is no room
REFUSALS = 2_000  # of one scene that came to a good end: nothing is allowed
SPLITS = ("train", "test")  # the position is part of the seed


class Canvas:
    """A float32 picture (H, W, C) in 0 … 255, and what has been painted on it.

    instances: uint8 (H, W), 0 where the background shows, k where the k-th thing does.
    whole, visible, covered: of each thing, the pixels it has, those it shows, and those that later
    things hide.  The rest of them lies beyond the border.
    """

    def __init__(self, background: np.ndarray) -> None:
        self.image = background
        self.instances = np.zeros(background.shape[:2], np.uint8)
        self.whole = self.visible = self.covered = np.zeros(0, np.int64)

    def near(self, shape: tuple[int, int], row: int, column: int) -> list[int]:
        """Which things, counted from 0, show in the window of that shape from (row, column) on."""
        window, _ = self._window(shape, row, column)
        return np.flatnonzero(np.bincount(self.instances[window].ravel())[1:]).tolist()

    def place(self, opacity: np.ndarray, colour: np.ndarray, row: int, column: int) -> bool:
        """Paint a thing, its upper left corner at (row, column), unless it hides too much.

        opacity (h, w), colour (h, w, C); they may reach over the border.  Returns whether it was
        painted.
        """
        window, part = self._window(opacity.shape, row, column)
        belongs = opacity >= 0.5
        shown = belongs[part]
        under = self.instances[window][shown]
        hidden = np.bincount(under, minlength=len(self.whole) + 1)[1:]
        whole = np.append(self.whole, np.count_nonzero(belongs))
        visible = np.append(self.visible - hidden, len(under))
        if (visible < VISIBLE * whole).any():
            return False
        self.whole, self.visible = whole, visible
        self.covered = np.append(self.covered + hidden, 0)
        self.instances[window][shown] = len(whole)
        image = self.image[window]
        image += opacity[part][..., None].astype(np.float32) * (colour[part] - image)
        return True

    def pixels(self) -> np.ndarray:
        """The picture as bytes: uint8 (H, W, C), what leaves 0 … 255 cut off."""
        return np.rint(self.image).clip(0, 255).astype(np.uint8)

    def boxes(self) -> np.ndarray:
        """Around what each thing shows: float32 (n, 4), (x0, y0, x1, y1), half-open."""
        boxes = np.zeros((len(self.whole), 4), np.float32)
        for k in range(len(boxes)):
            shown = self.instances == k + 1
            rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
            boxes[k] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return boxes

    def _window(self, shape, row, column):
        """The part of the canvas where something of that shape lies, and the part of it there."""
        height, width = self.instances.shape
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + shape[0], height), min(column + shape[1], width)
        window = slice(top, bottom), slice(left, right)
        return window, (slice(top - row, bottom - row), slice(left - column, right - column))


def draw_scenes(
    name: str,
    scene: Callable[[np.random.Generator, int], tuple[Canvas, list[int], str] | None],
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    split: str,
    count: int,
    objects: int | tuple[int, int],
    seed: int,
    allowed: Callable[[str], bool] = lambda caption: True,
) -> Scenes:
    """``count`` scenes (H, W, C), each by ``scene(rng, number)``: canvas, labels and caption.

    ``rng`` is seeded by (seed, split, i) for scene i, and ``number`` one of ``objects``.  What has
    come to a bad end, None, is drawn anew, and so is what is not ``allowed``.  Raises ValueError
    for a split, count, objects or seed that cannot be, for objects that there is no room for, and
    if nothing is allowed.
    """
    from tqdm import tqdm

    if split not in SPLITS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    bounds = (objects, objects) if np.ndim(objects) == 0 else objects
    least, most = map(operator.index, bounds)
    if not 1 <= least <= most <= MOST:
        raise ValueError(
            f"objects must be a number in 1 ... {MOST}, or the least and the most, got {objects}"
        )
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")

    labels = np.full((count, most), NOTHING)
    boxes = np.zeros((count, most, 4), np.float32)
    images, instances = np.empty((count, *shape), np.uint8), np.empty((count, *shape[:2]), np.uint8)
    captions = []
    for i in tqdm(range(count), desc=f"drawing {name}", delay=2, leave=False):
        rng = np.random.default_rng([seed, SPLITS.index(split), i])
        number = int(rng.integers(least, most + 1))
        canvas, kinds, caption = _first(allowed, scene, rng, number, shape)
        labels[i, :number], boxes[i, :number] = kinds, canvas.boxes()
        images[i], instances[i] = canvas.pixels(), canvas.instances
        captions.append(caption)
    return Scenes(f"{name}-{split}", images, labels, boxes, classes, instances, tuple(captions))


def _first(allowed: Callable, scene: Callable, rng, number: int, shape: tuple[int, int, int]):
    """The first scene that has come to a good end, and is allowed."""
    failed = refused = 0
    while failed < BEGINNINGS:
        drawn = scene(rng, number)
        if drawn is None:
            failed += 1
        elif allowed(drawn[2]):
            return drawn
        else:
            failed, refused = 0, refused + 1
            if refused == REFUSALS:
                raise ValueError(
                    f"world, keep: of {REFUSALS} scenes not one is allowed; the last was "
                    f"{drawn[2]!r}"
                )
    raise ValueError(f"objects: there is no room for {number} in {shape[1]}x{shape[0]}")
