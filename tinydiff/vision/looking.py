"""Pictures through a trained network, a batch at a time: what all who look at them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from tinydiff.backend import asarray
from tinydiff.images import to_float
from tinydiff.nn import Module
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.tensor import Tensor

BATCH = 16
Found = TypeVar("Found")


def look_at(
    model: Module, images: np.ndarray, read: Callable[[Tensor], Iterable[Found]], *, doing: str
) -> list[Found]:
    """What ``read`` makes of model(x), an entry for each of the pictures, uint8 (N, H, W, 3).

    In evaluation mode, without a graph, in as many processes as there are cores; after two
    seconds a progress bar says what it is ``doing``.
    Raises TypeError or ValueError for other pictures.
    """
    from tqdm import trange  # see tinydiff/training/progress.py

    check_pictures(images)
    model.eval()
    found: list[Found] = []
    with no_grad(), team_of(model):
        for start in trange(0, len(images), BATCH, desc=doing, delay=2, leave=False):
            found.extend(read(model(asarray(to_float(images[start : start + BATCH])))))
    return found


def check_pictures(images: np.ndarray) -> None:
    """Raise ValueError unless it is an array (N, H, W, 3)."""
    if not isinstance(images, np.ndarray) or images.ndim != 4 or images.shape[3] != 3:
        got = getattr(images, "shape", type(images).__name__)
        raise ValueError(f"images: expected an array (N, H, W, 3), got {got}")
