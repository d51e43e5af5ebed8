"""A picture in a file, of any kind that Pillow opens, as bytes."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

# Pillow takes 20 ms to import, a tenth of what `import tinydiff` may take: functions import it.


_ANY_SIZE = (
    1 << 20
)  # pixels, more than there are: for a JPEG is decoded smaller where one asks for less


def read_picture(path: str | os.PathLike, longest: int, *, multiple: int = 1) -> np.ndarray:
    """The whole picture, resized, uint8 (H, W, 3): its longer side is about ``longest`` pixels.

    Both sides are multiples of ``multiple``, the nearest to what keeps the picture's proportions,
    at least one.  Files are read as those of `image_folder`.
    Raises FileNotFoundError and its like, ValueError if it is not a picture that can be read, or
    unless 1 ≤ multiple ≤ longest.
    """
    if not 1 <= multiple <= longest:
        raise ValueError(f"expected 1 ≤ multiple ≤ longest, got {multiple} and {longest}")
    image = _readable(path, longest).convert("RGB")
    factor = longest / max(image.size) / multiple
    width, height = (multiple * max(1, round(factor * side)) for side in image.size)
    return resized(image, width, height)


def read_square(path: str | os.PathLike, size: int, *, grey: bool = False) -> np.ndarray:
    """The picture's centre, cut out square and resized, as `image_folder` does it.

    uint8 (size, size, 3), or (size, size, 1) if ``grey``.  Raises as `read_picture`.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    return square(_readable(path, size), size, grey)


def read_pixels(path: str | os.PathLike) -> np.ndarray:
    """The picture as it is in the file, uint8 (H, W, 3).  Raises as `read_square`."""
    return np.asarray(_readable(path, _ANY_SIZE).convert("RGB"))


def light_on_dark(picture: np.ndarray) -> np.ndarray:
    """A grey picture, uint8 (H, W, 1), as those of all data sets here are, light on a dark ground:
    where the border is lighter than a middle grey, as on paper, it is inverted."""
    border = np.concatenate([picture[[0, -1]].ravel(), picture[:, [0, -1]].ravel()])
    return 255 - picture if border.mean() > 127 else picture


def _readable(path: str | os.PathLike, size: int):
    """`opened`, whose errors are FileNotFoundError and its like, or else ValueError."""
    try:
        return opened(Path(path), size)
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        if isinstance(error, OSError) and error.errno:
            raise
        reason = "" if "cannot identify" in str(error) else f": {error}"
        raise ValueError(f"{os.fspath(path)} is not a picture that can be read{reason}") from error


def opened(file: Path, size: int):
    """A file as a Pillow image: upright, opaque, 8 bits a channel, still large enough for ``size``.

    Raises whatever Pillow does.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        # Pillow warns of pictures so large that they may be an attack: refuse them instead.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            # A JPEG can be decoded at a fraction of its size, many times faster.
            image.draft(None, (4 * size, 4 * size))
            return _opaque_bytes(ImageOps.exif_transpose(image))


def square(image, size: int, grey: bool) -> np.ndarray:
    """The centre of a Pillow image, as large as fits, as uint8 (size, size, 1 or 3)."""
    image = image.convert("L" if grey else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return resized(image.crop((left, top, left + side, top + side)), size, size)


def resized(image, width: int, height: int) -> np.ndarray:
    """A Pillow image as uint8 (height, width, channels)."""
    from PIL import Image

    # Lanczos averages over all pixels that fall into one, so that fine patterns do not alias.
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(height, width, -1)


def _opaque_bytes(image):
    """A Pillow image without transparency and with 8 bits a channel."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):  # floats; 16 or 32 bits of grey
        values = np.nan_to_num(np.asarray(image, np.float64))
        highest = values.max()
        if image.mode.startswith("I;16") or highest > 255:
            values = values * (255 / max(65535, highest))
        elif highest <= 1:
            values = values * 255
        return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
