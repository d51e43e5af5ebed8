"""Pictures as PNG files, and films of them as GIFs."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable

import numpy as np

from tinydiff.files import replacing
from tinydiff.images.ranges import checked_pixels

_GREYS = 16  # in a GIF, where no eye tells more apart and noise in 64 takes 3 times the room


def save_png(path: str | os.PathLike, image: np.ndarray, *, scale: int = 1) -> None:
    """Write a picture as PNG, each pixel ``scale`` x ``scale`` large; makes missing folders.

    image: (H, W), (H, W, 1) or (H, W, 3), uint8 or floats in [0, 1].  The file appears complete
    or not at all.
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(checked_pixels(image, "image", scale)).save(buffer, "PNG")
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
    pixels = [checked_pixels(frame, f"frames[{i}]", scale) for i, frame in enumerate(frames)]
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


def _fewer_greys(image: np.ndarray) -> np.ndarray:
    step = 255 / (_GREYS - 1)
    return np.rint(np.rint(image / step) * step).astype(np.uint8)
