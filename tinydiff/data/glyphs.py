"""The ten digits, from the font inside Pillow, as signed distance fields.

At every point stands the distance to the glyph's outline, negative inside the stroke.  Adding a
number makes strokes thicker or thinner, and reading the field at moved points bends the glyph
without the ragged edges that moving pixels would give.
"""

from __future__ import annotations

import functools

import numpy as np

# Four samples for one pixel of a 28x28 image, in which an undistorted digit is 20 pixels high.
FINE = 4
CANVAS = 28 * FINE
# The font's own 1, slanted and bent, is easily taken for a 7; a capital I is the 1 that most people
# write, a plain stroke.
GLYPHS = "0I23456789"
_FONT_SIZE = 29 * FINE  # gives digits 20 * FINE samples high


@functools.cache
def distance_fields() -> np.ndarray:
    """Float32 (10, CANVAS, CANVAS), in samples; each glyph's box is centred.

    Raises RuntimeError if this Pillow cannot draw text.
    """
    # Imported here: Pillow takes 20 ms, a tenth of what `import tinydiff` may take.
    from PIL import Image, ImageDraw, ImageFont, features

    if not features.check("freetype2"):
        raise RuntimeError(
            "digits are drawn with the font inside Pillow, which needs FreeType, and this Pillow "
            "was built without it: pip install --force-reinstall --only-binary :all: pillow"
        )
    font = ImageFont.load_default(_FONT_SIZE)
    fields = []
    for digit in GLYPHS:
        canvas = Image.new("L", (CANVAS, CANVAS))
        ImageDraw.Draw(canvas).text((FINE, FINE), digit, fill=255, font=font)
        glyph = canvas.crop(canvas.getbbox())
        ink = np.zeros((CANVAS, CANVAS), bool)
        top, left = (CANVAS - glyph.height) // 2, (CANVAS - glyph.width) // 2
        ink[top : top + glyph.height, left : left + glyph.width] = np.asarray(glyph) > 127
        fields.append(_distance_to(ink) - _distance_to(~ink))
    return np.float32(fields)


def _distance_to(target: np.ndarray) -> np.ndarray:
    """At every sample, the distance to the nearest True of ``target`` (n, n).

    Squared distance is a sum over the axes, so its minimum can be taken one axis at a time.
    """
    place = np.arange(len(target), dtype=np.float32)
    squared = (place[:, None] - place) ** 2
    nearest = np.where(target, np.float32(0), np.float32(np.inf))
    nearest = (squared[:, :, None] + nearest).min(axis=1)
    nearest = (squared[None] + nearest[:, None, :]).min(axis=2)
    return np.sqrt(nearest)
