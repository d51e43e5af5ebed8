"""Films: what the generators here yield one after the other, as pictures, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinydiff.backend import to_numpy
from tinydiff.images import to_uint8


def frames(film: Iterator, what: str = "climbing") -> Iterator[np.ndarray]:
    """Each of them, uint8 (N, H, W, C), of arrays of the backend in [−1, 1].

    what  it is called in the progress bar
    """
    return (to_uint8(to_numpy(x)) for x in _watched(film, what))


def last(film: Iterator, what: str = "climbing") -> np.ndarray:
    """The last of them, which is the result: uint8 (N, H, W, C)."""
    *_, x = _watched(film, what)
    return to_uint8(to_numpy(x))


def _watched(film: Iterator, what: str) -> Iterator:
    from tqdm import tqdm  # see tinydiff/training/progress.py

    return tqdm(film, desc=what, delay=2, leave=False)
