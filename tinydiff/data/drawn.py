"""Pictures that a model has drawn, as examples/sample.py writes them: an .npz file of two arrays.

images: uint8 (N, H, W, C).  labels: (N,), the class each was asked to be, −1 without one.
"""

from __future__ import annotations

import os
import zipfile

import numpy as np

from tinydiff.data.dataset import Dataset


def is_drawn(path: str | os.PathLike) -> bool:
    """Does the file look like one of drawn pictures?  A checkpoint, or no file at all, does not."""
    try:
        with zipfile.ZipFile(path) as file:
            return "images.npy" in file.namelist()
    except (FileNotFoundError, zipfile.BadZipFile):
        return False


def load_drawn(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels of the file; labels is None where they were drawn without.

    Raises FileNotFoundError, ValueError if the file is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images = Dataset("drawn", file["images"]).images
            labels = file["labels"].astype(np.int64).reshape(len(images))
    except (LookupError, TypeError, ValueError, EOFError, zipfile.BadZipFile):
        raise ValueError(
            f"{os.fspath(path)} is not a file that examples/sample.py has written"
        ) from None
    return images, labels if labels.min() >= 0 else None
