"""Grids of pictures with words around them, or below each."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from tinydiff.images.grids import grid
from tinydiff.images.ranges import checked_pixels

_TEXT = 13  # pixels, the size of captions


def labelled_grid(
    images: np.ndarray,
    columns: Sequence[str],
    rows: Sequence[str] = (),
    *,
    corner: str = "",
    pad: int = 2,
    scale: int = 2,
) -> np.ndarray:
    """A `grid` with a caption over each of its columns and to the left of each row, in white.

    images  pictures as in `grid`, row by row, each pixel made ``scale`` x ``scale`` large
    columns, rows, corner  the texts; rows may be left out.  A text that is wider than its column
            is written smaller

    Returns a picture, uint8 (H, W, 3), whose lower right part is the grid.
    """
    from PIL import Image, ImageDraw, ImageFont

    table = checked_pixels(grid(images, len(columns), pad=pad), "images", scale)
    height, width = table.shape[:2]
    count = -(-len(images) // len(columns))
    if rows and len(rows) != count:
        raise ValueError(f"rows: expected {count} texts, one for each row, got {len(rows)}")
    corner, *rows = map(_written, (corner, *rows))

    font = ImageFont.load_default(size=_TEXT)
    margin = pad * scale
    across, down = (width - margin) / len(columns), (height - margin) / count
    widest = max(font.getlength(text) for text in (corner, *rows))
    left, top = math.ceil(widest) + (margin if widest else 0), round(1.6 * _TEXT)
    picture = Image.new("RGB", (left + width, top + height))
    picture.paste(Image.fromarray(table), (left, top))
    draw = ImageDraw.Draw(picture)
    draw.text((margin, top / 2), corner, font=font, anchor="lm")
    for i, text in enumerate(rows):
        y = top + margin / 2 + (i + 0.5) * down
        draw.text((margin, y), text, font=font, anchor="lm")
    for i, text in enumerate(columns):
        _write(draw, (left + margin / 2 + (i + 0.5) * across, top / 2), text, across - 4)
    return np.asarray(picture)


def labelled_rows(
    rows: Mapping[str, Sequence[np.ndarray]], columns: Sequence[str] = (), **settings
) -> np.ndarray:
    """A `labelled_grid` of rows of pictures by name, as many in each.

    columns   texts over them, or none
    settings  as of `labelled_grid`: corner, pad, scale
    """
    lengths = {name: len(row) for name, row in rows.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"rows: expected some, with as many pictures in each, got {lengths}")
    columns = columns or [""] * min(lengths.values())
    return labelled_grid(np.concatenate(list(rows.values())), columns, list(rows), **settings)


def captioned_grid(
    images: np.ndarray, captions: Sequence[str], columns: int, *, scale: int = 2
) -> np.ndarray:
    """A `grid` of pictures, each ``scale`` times as large, with its caption below it, in white.

    Long captions take several lines.  Returns a picture, uint8 (H, W, 3).
    """
    from PIL import Image, ImageDraw

    if len(captions) != len(images):
        raise ValueError(f"captions: expected {len(images)}, one a picture, got {len(captions)}")
    line = round(1.4 * _TEXT)
    lines = [_lines(caption, scale * images.shape[2]) for caption in captions]
    below = max(map(len, lines), default=1) * line
    cells = []
    for i, image in enumerate(images):
        cell = Image.fromarray(checked_pixels(image, f"images[{i}]", scale)).convert("RGB")
        width, height = cell.size
        cell = cell.crop((0, 0, width, height + below))  # black below
        for k, text in enumerate(lines[i]):
            _write(ImageDraw.Draw(cell), (width / 2, height + (k + 0.5) * line), text, width)
        cells.append(np.asarray(cell))
    return grid(np.stack(cells), columns, pad=2 * scale)


def _written(text: str) -> str:
    """The text as Pillow's own font can write it: letters without accents, which it lacks."""
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("−", "-"))
    return "".join(each for each in parts if not unicodedata.combining(each))


def _lines(text: str, width: float) -> list[str]:
    """The text as lines of whole words, each as long as fits if written a quarter smaller."""
    from PIL import ImageFont

    width /= 0.75
    font, (first, *words) = ImageFont.load_default(size=_TEXT), _written(text).split(" ")
    lines = [first]
    for word in words:
        longer = f"{lines[-1]} {word}"
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _write(draw, centre: tuple[float, float], text: str, width: float) -> None:
    """The text around a point, smaller than usual if it would be wider than ``width``."""
    from PIL import ImageFont

    text, size = _written(text), _TEXT
    font = ImageFont.load_default(size=size)
    while font.getlength(text) > width and size > 1:  # which does not fall as evenly as the size
        size -= 1
        font = ImageFont.load_default(size=size)
    draw.text(centre, text, font=font, anchor="mm")
