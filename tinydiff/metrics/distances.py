"""All distances between two sets of points, by one matrix product for many of them:

‖p − s‖² = ‖p‖² − 2 p·s + ‖s‖²
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK = 1 << 22  # distances held at a time


def squared_distances(points: np.ndarray, sample: np.ndarray) -> Iterator[np.ndarray]:
    """‖p − s‖² of points (M, d) and sample (N, d), float64: some rows (…, N) at a time."""
    centre = sample.mean(axis=0)  # small numbers lose less where large squares cancel
    points, sample = points - centre, sample - centre
    squares = np.square(sample).sum(axis=1)
    rows = max(1, CHUNK // len(sample))
    for start in range(0, len(points), rows):
        p = points[start : start + rows]
        yield np.square(p).sum(axis=1, keepdims=True) - 2 * (p @ sample.T) + squares
