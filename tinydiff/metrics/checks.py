"""What the metrics ask of their arrays, checked at the door."""

from __future__ import annotations

import numpy as np


def two_samples(a, b, *, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features, (N, d) and (M, d), as float64.

    Raises TypeError for what is not an array of numbers, ValueError for other shapes, for fewer
    than ``least`` rows, and for NaN or infinity.
    """
    checked = []
    for name, x in (("the first sample", a), ("the second sample", b)):
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiu":
            kind = f"an array of {x.dtype}" if hasattr(x, "dtype") else type(x).__name__
            raise TypeError(f"{name}: expected a NumPy array of numbers (N, d), got {kind}")
        if x.ndim != 2 or x.shape[1] == 0 or len(x) < least:
            raise ValueError(
                f"{name}: expected features (N, d) with N ≥ {least}, got shape {x.shape}"
            )
        x = x.astype(np.float64)
        if not np.isfinite(x).all():
            raise ValueError(f"{name}: expected finite features, got NaN or infinity")
        checked.append(x)
    a, b = checked
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"expected features of one length in both samples, got {a.shape[1]} and {b.shape[1]}"
        )
    return a, b
