"""What data sets check of their fields: TypeError or ValueError, naming the field."""

from __future__ import annotations

import numpy as np


def check_names(name: object, classes: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a text that is not empty, got {name!r}")
    if not isinstance(classes, tuple) or not all(isinstance(c, str) for c in classes):
        raise TypeError(f"classes must be a tuple of texts, got {classes!r}")


def check_images(images: object) -> None:
    check_array("images", images, np.uint8)
    shape = images.shape
    if len(shape) != 4 or 0 in shape or shape[-1] not in (1, 3):
        raise ValueError(
            f"images must be (N, H, W, C) with at least one image and C = 1 or 3, got shape {shape}"
        )


def check_array(field: str, value: object, dtype: type) -> None:
    wanted = np.dtype(dtype)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{field} must be a NumPy array of {wanted}, got {type(value).__name__}")
    if value.dtype != wanted:
        raise TypeError(
            f"{field} must be {wanted}, got {value.dtype}: convert with .astype(np.{wanted})"
        )
