"""Built-in digits: as many different ones as wanted, from ten glyphs and no download.

With d the signed distance field of a glyph (``glyphs.py``), an image is one formula,

    pixel(p) = clip(1/2 + (w(p) - d(u(p))) / s, 0, 1),

where u(p) is an affine map (rotation, shear, scale, position) plus smooth bending, w(p) a stroke
width with smooth changes of pressure, and s the softness of the edge.  u and w are sums of a few
smooth functions of p, so one matrix product gives them for a whole block of images.
"""

from __future__ import annotations

import contextlib
import functools
import io
from pathlib import Path

import numpy as np

from tinydiff.data.cache import cache_folder
from tinydiff.data.dataset import Dataset
from tinydiff.data.glyphs import CANVAS, FINE, distance_fields
from tinydiff.files import replacing

VERSION = 2  # part of the cache file's name: raise it with every change to what is drawn
SIZE = 28  # pixels a side
BLOCK = 500  # images drawn from one generator: image i is the same whatever the count
WORTH_CACHING = 10_000  # images; fewer are drawn again before one would miss the file
SPLITS = ("train", "test")  # the position is part of the seed

WAVES = 4  # bending and pressure: cosines of 0 to 3 half periods along each axis ...
BEND = 0.8  # ... in pixels, and weaker the faster they vary
PRESSURE = 0.2


def digits(split: str = "train", count: int = 60_000, *, seed: int = 0) -> Dataset:
    """``count`` grey 28x28 images of the digits 0 to 9, white on black, any number of them.

    ``split`` ("train" or "test") and ``seed`` choose the random stream; image i does not depend
    on ``count``.  Every 500 images hold 50 of each class.  Sets of 10,000 or more are kept in the
    user's cache folder.  Raises ValueError for an unknown split, a count below 1 or a negative
    seed, RuntimeError if Pillow has no font.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    path = cache_folder() / "digits" / f"v{VERSION}-{split}-seed{seed}-{count}.npz"
    arrays = _load(path, count) if count >= WORTH_CACHING else None
    if arrays is None:
        blocks = [_draw_block(split, seed, block) for block in range(-(-count // BLOCK))]
        arrays = tuple(np.concatenate(parts)[:count] for parts in zip(*blocks, strict=True))
        if count >= WORTH_CACHING:
            _save(path, *arrays)
    images, labels = arrays
    return Dataset(f"digits-{split}", images, labels, tuple("0123456789"))


def _draw_block(split: str, seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Images number BLOCK·block onwards: uint8 (BLOCK, 28, 28, 1), labels int64 (BLOCK,)."""
    rng = np.random.default_rng([seed, SPLITS.index(split), block])
    labels = rng.permutation(np.arange(BLOCK) % 10)

    def normal(mean: float, deviation: float, limit: float) -> np.ndarray:
        return mean + np.clip(rng.normal(0, deviation, BLOCK), -limit, limit)

    angle = np.deg2rad(normal(0, 5, 12))
    shear = normal(0.1, 0.1, 0.2)
    size = normal(0.95, 0.05, 0.1)
    stretch = np.exp(normal(0, 0.07, 0.14))
    right, down = normal(0, 0.8, 2), normal(0, 0.8, 2)
    thickness = rng.uniform(-0.35, 0.8, BLOCK)
    softness = rng.uniform(1.0, 1.5, BLOCK)

    # From a pixel back to the glyph: undo position, rotation, shear and scale, in this order.
    cos, sin = np.cos(angle), np.sin(angle)
    x_scale, y_scale = FINE / (size * stretch), FINE * stretch / size
    to_x = x_scale * (cos - shear * sin), x_scale * (sin + shear * cos)
    to_y = -y_scale * sin, y_scale * cos
    middle = (CANVAS - 1) / 2

    functions, strength = _smooth_functions()
    waves = rng.normal(0, FINE * strength, (3, BLOCK, len(strength)))
    coefficients = np.empty((3, BLOCK, len(functions)))
    for row, (from_x, from_y) in enumerate((to_x, to_y)):
        coefficients[row, :, 0] = middle - from_x * right - from_y * down
        coefficients[row, :, 1] = from_x
        coefficients[row, :, 2] = from_y
        coefficients[row, :, 3:] = BEND * waves[row]
    coefficients[2, :, 0] = FINE * thickness
    coefficients[2, :, 1:3] = 0
    coefficients[2, :, 3:] = PRESSURE * waves[2]
    x, y, width = coefficients.astype(np.float32) @ functions

    edge = np.float32(FINE * softness / size)[:, None]
    ink = 0.5 + (width - _sample(labels, x, y)) / edge
    images = np.rint(255 * np.clip(ink, 0, 1)).astype(np.uint8)
    return images.reshape(BLOCK, SIZE, SIZE, 1), labels


@functools.cache
def _smooth_functions() -> tuple[np.ndarray, np.ndarray]:
    """1, x, y and K cosine waves at every pixel, (3 + K, SIZE²), and the waves' strengths (K,)."""
    place = np.arange(SIZE) - (SIZE - 1) / 2
    cosines = np.cos(np.pi * np.arange(WAVES)[:, None] * (place / SIZE + 0.5))
    plain = [np.ones((SIZE, SIZE)), *np.meshgrid(place, place)]
    orders = [(i, j) for i in range(WAVES) for j in range(WAVES) if i or j]
    plain = np.reshape(plain, (3, -1))
    waves = np.reshape([np.outer(cosines[i], cosines[j]) for i, j in orders], (len(orders), -1))
    # Less their affine part, so that how large and how slanted a digit is stays as drawn above.
    waves -= waves @ np.linalg.pinv(plain) @ plain
    strengths = [1 / (i * i + j * j) for i, j in orders]
    return np.float32([*plain, *waves]), np.float32(strengths)


def _sample(labels: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The distance fields of ``labels`` (n,) at the points x, y (n, SIZE²), bilinearly."""
    fields = distance_fields().ravel()
    # Beyond the border the distance there serves as well: it is too far for ink.
    x, y = np.clip(x, 0, CANVAS - 1.001), np.clip(y, 0, CANVAS - 1.001)
    column, row = x.astype(np.int32), y.astype(np.int32)
    x -= column
    y -= row
    corner = (row + CANVAS * labels[:, None].astype(np.int32)) * CANVAS + column
    above, below = fields[corner], fields[corner + CANVAS]
    above += x * (fields[corner + 1] - above)
    below += x * (fields[corner + CANVAS + 1] - below)
    return above + y * (below - above)


def _load(path: Path, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """What ``_save`` wrote, or None if there is no such file or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            # Reading an array checks the archive's sums only where it reads to the very end.
            if arrays.zip.testzip() is not None:
                return None
            images, labels = arrays["images"], arrays["labels"]
    except Exception:  # a damaged archive fails in many ways, and all mean: draw again
        return None
    whole = images.shape == (count, SIZE, SIZE, 1) and labels.shape == (count,)
    return (images, labels) if whole else None


def _save(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    content = io.BytesIO()
    np.savez(content, images=images, labels=labels)
    # A full or read-only disk costs the next run some seconds, not this one its digits.
    with contextlib.suppress(OSError), replacing(path) as file:
        file.write(content.getvalue())
