"""Arrays to pictures and back: PNG files, grids, GIFs, and the step between bytes and floats.

Three ranges of pixel values meet here.  Files and data sets hold bytes, 0 to 255; pictures are
floats in [0, 1]; diffusion works on floats in [-1, 1].  ``to_float`` and ``to_uint8`` are the
only place where one becomes another.  Images are channels-last: (H, W), (H, W, 1) or (H, W, 3).
"""

from __future__ import annotations

import io
import math
import os
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from tinydiff.files import replacing

# Pillow takes 20 ms to import, a tenth of what `import tinydiff` may take: the functions that
# write files import it themselves.

_ROUND_OFF = 1e-3  # a float picture may leave [0, 1] by this much: a quarter of one grey level
_TEXT = 13  # pixels, the size of captions
_GREYS = 16  # in a GIF, where no eye tells more apart and noise in 64 takes 3 times the room


def to_float(images: np.ndarray, value_range: tuple[float, float] = (-1.0, 1.0)) -> np.ndarray:
    """Bytes as float32: 0 becomes the lowest value of ``value_range``, 255 the highest."""
    images = _array(images, "images")
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8 (0 to 255), got {images.dtype}")
    low, high = check_value_range(value_range)
    # Dividing makes both ends exact in [-1, 1] and [0, 1]; multiplying by 2 / 255 would not.
    x = np.divide(images, np.float32(255 / (high - low)), dtype=np.float32)
    x += np.float32(low)
    return x


def to_uint8(x: np.ndarray, value_range: tuple[float, float] = (-1.0, 1.0)) -> np.ndarray:
    """Floats as bytes: the exact inverse of ``to_float``.

    Values between two bytes go to the nearest, and values outside ``value_range`` to its ends: a
    sampler overshoots a little.  NaN and infinity have no byte and raise ValueError.
    """
    x = _array(x, "x")
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(f"x must be floats, got {x.dtype}")
    low, high = check_value_range(value_range)
    if not np.isfinite(x).all():
        raise ValueError("x holds NaN or infinity: the model that made it has diverged")
    scaled = (x - low) * (255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def check_pictures(images: np.ndarray) -> np.ndarray:
    """``images`` if they are pictures for a network, (N, H, W, C), uint8 or floats in [−1, 1].

    TypeError or ValueError if they are not.
    """
    if not isinstance(images, np.ndarray) or not (
        images.dtype == np.uint8 or images.dtype.kind == "f"
    ):
        kind = getattr(images, "dtype", None) or type(images).__name__
        raise TypeError(f"images: expected a NumPy array of uint8 or floats, got {kind}")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images: expected (N, H, W, C) with N ≥ 1, got shape {images.shape}")
    # Written so that NaN fails too.
    if images.dtype.kind == "f" and not -1.001 <= images.min() <= images.max() <= 1.001:
        raise ValueError(
            f"images: expected floats in [−1, 1], got {images.min():.4g} … {images.max():.4g}"
        )
    return images


def to_input(images: np.ndarray, dtype=np.float32) -> np.ndarray:
    """`check_pictures` as our networks take them: floats in [−1, 1], which bytes become."""
    images = check_pictures(images)
    return (to_float(images) if images.dtype == np.uint8 else images).astype(dtype, copy=False)


def check_value_range(value_range: tuple[float, float]) -> tuple[float, float]:
    """``value_range`` as two floats, or ValueError if it is not (low, high) with low < high."""
    low, high = (float(end) for end in value_range)
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"value_range must be (low, high) with low < high, got {value_range}")
    return low, high


def grid(
    images: np.ndarray, columns: int | None = None, *, pad: int = 2, fill: float = 0.0
) -> np.ndarray:
    """Pictures (N, H, W), (N, H, W, 1) or (N, H, W, 3) side by side, as one of the same dtype.

    They fill rows of ``columns`` (default: about as many as there are rows) from the upper left,
    with ``pad`` pixels of brightness ``fill`` (0 black, 1 white) around each.
    """
    images = _array(images, "images")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must be (N, H, W), (N, H, W, 1 or 3), got shape {images.shape}")
    if pad < 0:
        raise ValueError(f"pad must not be negative, got {pad}")
    if not 0 <= fill <= 1:
        raise ValueError(f"fill must lie in [0, 1], got {fill}")
    n, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    rows = math.ceil(n / columns)
    background = round(fill * 255) if images.dtype == np.uint8 else fill
    cells = np.full(
        (rows * columns, height + pad, width + pad, channels), background, dtype=images.dtype
    )
    cells[:n, pad:, pad:] = images
    table = cells.reshape(rows, columns, height + pad, width + pad, channels)
    table = table.transpose(0, 2, 1, 3, 4)
    table = table.reshape(rows * (height + pad), columns * (width + pad), channels)
    # Every cell brought its padding above and to the left; this closes the right and the bottom.
    return np.pad(table, ((0, pad), (0, pad), (0, 0)), constant_values=background)


def side_by_side(columns: Sequence[np.ndarray], **settings) -> np.ndarray:
    """A `grid` whose columns are these pictures, each (N, H, W, C) from top to bottom."""
    rows = np.stack([_array(column, "columns") for column in columns], axis=1)
    return grid(rows.reshape(-1, *rows.shape[2:]), len(columns), **settings)


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

    table = _pixels(grid(images, len(columns), pad=pad), "images", scale)
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
        cell = Image.fromarray(_pixels(image, f"images[{i}]", scale)).convert("RGB")
        width, height = cell.size
        cell = cell.crop((0, 0, width, height + below))  # black below
        for k, text in enumerate(lines[i]):
            _write(ImageDraw.Draw(cell), (width / 2, height + (k + 0.5) * line), text, width)
        cells.append(np.asarray(cell))
    return grid(np.stack(cells), columns, pad=2 * scale)


def save_png(path: str | os.PathLike, image: np.ndarray, *, scale: int = 1) -> None:
    """Write a picture as PNG, each pixel ``scale`` x ``scale`` large; makes missing folders.

    image: (H, W), (H, W, 1) or (H, W, 3), uint8 or floats in [0, 1].  The file appears complete
    or not at all.
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_pixels(image, "image", scale)).save(buffer, "PNG")
    with replacing(path) as file:
        file.write(buffer.getvalue())


def save_gif(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    *,
    fps: float = 20,
    hold: float = 1.0,
    scale: int = 1,
) -> None:
    """Write a looping animation that holds its last frame for ``hold`` seconds.

    frames: pictures of one shape, each as in ``save_png``; any iterable, an array (T, H, W, C)
    too.  fps: frames a second, at most 50 (browsers slow down faster ones).  All frames share
    one palette: 16 greys, or 256 colours chosen for the animation as a whole.
    """
    from PIL import Image

    if not 0 < fps <= 50:
        raise ValueError(f"fps must lie in (0, 50], got {fps}")
    if hold < 0:
        raise ValueError(f"hold must not be negative (seconds), got {hold}")
    pixels = [_pixels(frame, f"frames[{i}]", scale) for i, frame in enumerate(frames)]
    if not pixels:
        raise ValueError("frames is empty: an animation needs at least one picture")
    for i, frame in enumerate(pixels):
        if frame.shape != pixels[0].shape:
            raise ValueError(
                f"frames must have one shape, but frames[0] is {pixels[0].shape} "
                f"and frames[{i}] is {frame.shape}"
            )
    if pixels[0].ndim == 2:
        images = [Image.fromarray(_fewer_greys(frame)) for frame in pixels]
    else:
        # No dithering: its dots differ from frame to frame, flicker, and do not compress.
        film = Image.fromarray(np.concatenate(pixels))
        palette = film.quantize(256, dither=Image.Dither.NONE)
        images = [
            Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
            for frame in pixels
        ]
    frame_ms = 1000 / fps
    durations = [frame_ms] * (len(images) - 1) + [max(frame_ms, 1000 * hold)]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        optimize=True,
    )
    with replacing(path) as file:
        file.write(buffer.getvalue())


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

    text = _written(text)
    share = min(1.0, width / max(ImageFont.load_default(size=_TEXT).getlength(text), 1))
    draw.text(centre, text, font=ImageFont.load_default(size=max(share * _TEXT, 1)), anchor="mm")


def _array(value: object, argument: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{argument} must be a NumPy array, got {type(value).__name__} "
            "(a Tensor becomes one by .numpy(), a device array by tinydiff.backend.to_numpy)"
        )
    return value


def _fewer_greys(image: np.ndarray) -> np.ndarray:
    step = 255 / (_GREYS - 1)
    return np.rint(np.rint(image / step) * step).astype(np.uint8)


def _pixels(image: np.ndarray, argument: str, scale: int) -> np.ndarray:
    """A picture as uint8 (H, W) or (H, W, 3), checked and enlarged."""
    image = _array(image, argument)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] != 3) or 0 in image.shape:
        raise ValueError(f"{argument} must be (H, W), (H, W, 1) or (H, W, 3), got {image.shape}")
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    if image.dtype != np.uint8:
        if not np.issubdtype(image.dtype, np.floating):
            raise TypeError(f"{argument} must be uint8 or floats in [0, 1], got {image.dtype}")
        low, high = image.min(), image.max()
        if not (low >= -_ROUND_OFF and high <= 1 + _ROUND_OFF):  # written so that NaN fails
            raise ValueError(
                f"{argument} must lie in [0, 1], but its values range from {low:.4g} to {high:.4g}"
                " (samples in [-1, 1]: use to_uint8)"
            )
        image = to_uint8(image, (0, 1))
    return image.repeat(scale, axis=0).repeat(scale, axis=1)
