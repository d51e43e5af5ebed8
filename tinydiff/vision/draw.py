"""Boxes and masks on a picture: a colour for each class, the same everywhere.

The frame of a box lies inside it and touches its border: what is seen of the background between
frame and object is what the box has too much.  An object's mask is a tint, with the outermost of
its pixels as a line around it; a mask of the whole picture colours its greys.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from tinydiff.vision.objects import Objects

GOLDEN = 0.618034  # of the circle of hues, from one class to the next: no two are close
TEXT = 11  # pixels high
PAINT = 0.75  # of an object's pixels is colour, the rest the picture's grey
DIMMED = 0.5  # the background's grey
TINT = 0.4  # of the colour, in a mask


def draw_objects(
    image: np.ndarray, objects: Objects, classes: Sequence[str], *, scale: int = 1
) -> np.ndarray:
    """A copy of the image, ``scale`` times as large, with the objects on it: uint8 (H', W', 3)

    image    uint8 (H, W, 1 or 3)
    objects  boxes in pixels of the image, perhaps masks; the surest are drawn last, on top
    classes  a name for each label; the same label has the same colour in every picture

    Raises TypeError or ValueError, naming the argument, where something else comes.
    """
    from PIL import Image, ImageDraw, ImageFont

    _check(image, objects, classes, scale)
    pixels = np.broadcast_to(image, (*image.shape[:2], 3)).copy()
    order = range(len(objects)) if objects.scores is None else np.argsort(objects.scores)
    if objects.masks is not None:
        for k in order:
            _tint(pixels, objects.masks[k], colour_of(int(objects.labels[k])))
    canvas = Image.fromarray(pixels.repeat(scale, axis=0).repeat(scale, axis=1))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(TEXT)
    for k in order:
        label = int(objects.labels[k])
        text = classes[label]
        if objects.scores is not None:
            text += f" {objects.scores[k]:.0%}"
        _draw_box(draw, font, np.rint(scale * objects.boxes[k]).astype(int), text, colour_of(label))
    return np.asarray(canvas).copy()


def draw_rows(
    images: np.ndarray,
    rows: Sequence[Sequence[Objects]],
    classes: Sequence[str],
    *,
    scale: int = 1,
) -> np.ndarray:
    """The images with their objects, once for each row: uint8 (rows·N, H', W', 3)

    images  uint8 (N, H, W, 1 or 3)
    rows    for each, what is on each of the images; what comes after those is left out

    They come row after row, as `tinydiff.images.grid` takes them.  All else as `draw_objects`.
    """
    return np.stack(
        [
            draw_objects(image, objects, classes, scale=scale)
            for row in rows
            for image, objects in zip(images, row, strict=False)
        ]
    )


def draw_mask(image: np.ndarray, mask: np.ndarray, *, scale: int = 1) -> np.ndarray:
    """The image in grey, ``scale`` times as large, its objects coloured: uint8 (H', W', 3)

    image  uint8 (H, W, 1 or 3)
    mask   (H, W) integers, 0 where the background is, 1 + label at an object's pixels; it has the
           `colour_of` label

    Raises TypeError or ValueError, naming the argument, where something else comes.
    """
    _check_image(image, scale)
    mask = np.asarray(mask)
    if mask.dtype.kind not in "iu":
        raise TypeError(f"mask: expected integers, got {mask.dtype}")
    if mask.shape != image.shape[:2] or mask.min() < 0:
        raise ValueError(
            f"mask: expected classes ≥ 0 of shape {image.shape[:2]}, "
            f"got shape {mask.shape} and classes from {mask.min()} on"
        )
    grey = image.mean(axis=2, keepdims=True)
    colours = np.array([colour_of(label) for label in range(mask.max())]).reshape(-1, 3)
    painted = (1 - PAINT) * grey + PAINT * np.pad(colours, ((1, 0), (0, 0)))[mask]
    drawn = np.where(mask[..., None] > 0, painted, DIMMED * grey)
    return np.rint(drawn).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)


def draw_names(classes: Sequence[str], width: int) -> np.ndarray:
    """The names of the classes, each on its colour, in rows of ``width`` pixels: uint8 (H, W, 3)"""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(TEXT)
    places, x, y = [], 2, 2
    for text in classes:
        wide = _plate_width(font, text)
        if x > 2 and x + wide > width:
            x, y = 2, y + TEXT + 6
        places.append((x, y))
        x += wide + 4
    canvas = Image.new("RGB", (width, y + TEXT + 5))
    draw = ImageDraw.Draw(canvas)
    for label, (text, place) in enumerate(zip(classes, places, strict=True)):
        _draw_plate(draw, font, place, text, colour_of(label))
    return np.asarray(canvas).copy()


def colour_of(label: int) -> tuple[int, int, int]:
    """The colour of a class, red, green and blue, 0 … 255."""
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.8, 1.0))


def _tint(pixels: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Mix the colour into the mask's pixels, and paint those at its border with it."""
    around = np.pad(mask, 1, mode="edge")
    inner = mask & around[2:, 1:-1] & around[:-2, 1:-1] & around[1:-1, 2:] & around[1:-1, :-2]
    pixels[mask] = np.rint(pixels[mask] + TINT * (np.array(colour) - pixels[mask]))
    pixels[mask & ~inner] = colour


def _draw_box(draw, font, box: np.ndarray, text: str, colour: tuple[int, int, int]) -> None:
    """A frame 2 pixels wide inside of the box, and the text on a plate above it, or in its top."""
    x0, y0, x1, y1 = box.tolist()
    if x1 > x0 and y1 > y0:  # Pillow's corners are pixels, and both belong to the rectangle
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=2)
    width, height = draw.im.size
    x = max(0, min(x0, width - _plate_width(font, text)))
    y = y0 - TEXT - 3 if y0 >= TEXT + 3 else min(y0, height - TEXT - 3)
    _draw_plate(draw, font, (x, y), text, colour)


def _plate_width(font, text: str) -> int:
    left, _, right, _ = font.getbbox(text)
    return right - left + 4


def _draw_plate(draw, font, place: tuple[int, int], text: str, colour) -> None:
    """The text on a plate of that colour, its upper left corner at (x, y)."""
    x, y = place
    draw.rectangle((x, y, x + _plate_width(font, text) - 1, y + TEXT + 2), fill=colour)
    light = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 128
    left, *_ = font.getbbox(text)
    draw.text((x + 2 - left, y), text, fill="black" if light else "white", font=font)


def _check(image, objects, classes, scale) -> None:
    _check_image(image, scale)
    if not isinstance(objects, Objects):
        raise TypeError(f"objects: expected Objects, got {type(objects).__name__}")
    if (objects.labels >= len(classes)).any():
        raise ValueError(
            f"classes: {len(classes)} names, but there is an object of class {objects.labels.max()}"
        )
    if objects.masks is not None and objects.masks.shape[1:] != image.shape[:2]:
        raise ValueError(
            f"objects: masks of {objects.masks.shape[1:]} pixels, but an image of {image.shape[:2]}"
        )


def _check_image(image, scale) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", None) or type(image).__name__
        raise TypeError(f"image: expected a NumPy array of uint8, got {kind}")
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ValueError(f"image: expected (H, W, 1 or 3), got shape {image.shape}")
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
