"""The step between bytes and floats.

Three ranges of pixel values meet here.  Files and data sets hold bytes, 0 to 255; pictures are
floats in [0, 1]; diffusion works on floats in [-1, 1].  ``to_float`` and ``to_uint8`` are the
only place where one becomes another.
"""

from __future__ import annotations

import math

import numpy as np

_ROUND_OFF = 1e-3  # a float picture may leave [0, 1] by this much: a quarter of one grey level


def to_float(images: np.ndarray, value_range: tuple[float, float] = (-1.0, 1.0)) -> np.ndarray:
    """Bytes as float32: 0 becomes the lowest value of ``value_range``, 255 the highest."""
    images = check_array(images, "images")
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
    x = check_array(x, "x")
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


def checked_pixels(image: np.ndarray, argument: str, scale: int) -> np.ndarray:
    """A picture as uint8 (H, W) or (H, W, 3), checked and enlarged."""
    image = check_array(image, argument)
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


def check_array(value: object, argument: str) -> np.ndarray:
    """``value`` if it is a NumPy array; else TypeError, naming the argument."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{argument} must be a NumPy array, got {type(value).__name__} "
            "(a Tensor becomes one by .numpy(), a device array by tinydiff.backend.to_numpy)"
        )
    return value
