"""The nearest neighbours of pictures among other pictures: exact, by comparing with all of them.

    the k points p of least ‖q − p‖, for each query q

Between pixels the distance sees brightness and place; between features of a trained network it sees
what the network has learned to tell apart.  Which of the two finds neighbours of the right class
says what the features are worth.

Source: A. Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
2012, section 6.1 (neighbours in the features of the last layer but one).
"""

from __future__ import annotations

import operator

import numpy as np

from tinydiff.metrics.distances import squared_distances

BLOCK = 1 << 22  # numbers of the points held as float64 at a time


def nearest(queries: np.ndarray, points: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """For each of the queries (M, …), the indices of its k nearest points (N, …), nearest first,
    int64 (M, k), and their distances, float64 (M, k).

    Each is an array of numbers of any dtype, pictures or features; entries are compared as vectors.
    Of points that are equally far, any may come.
    Raises TypeError or ValueError for other arrays, or unless 1 ≤ k ≤ N.
    """
    from tqdm import trange  # see tinydiff/training/progress.py

    queries, points = _rows("queries", queries), _rows("points", points)
    if queries.shape[1] != points.shape[1]:
        raise ValueError(
            f"queries: expected {points.shape[1]} numbers each as in points, got {queries.shape[1]}"
        )
    if not 1 <= operator.index(k) <= len(points):
        raise ValueError(f"k: expected 1 … {len(points)}, no more than points, got {k}")
    queries = queries.astype(np.float64)
    indices, squares = np.zeros((len(queries), k), np.int64), np.full((len(queries), k), np.inf)
    block = max(1, BLOCK // points.shape[1])
    for start in trange(0, len(points), block, desc="comparing", delay=2, leave=False):
        part = points[start : start + block].astype(np.float64)
        row = 0
        for d in squared_distances(queries, part):
            rows, row = slice(row, row + len(d)), row + len(d)
            few = np.argpartition(d, min(k, d.shape[1]) - 1, axis=1)[:, :k]
            # the best so far, and the best of this part: the best of both
            candidates = np.hstack([squares[rows], np.take_along_axis(d, few, 1)])
            places = np.hstack([indices[rows], start + few])
            best = np.argsort(candidates, axis=1, kind="stable")[:, :k]
            squares[rows] = np.take_along_axis(candidates, best, 1)
            indices[rows] = np.take_along_axis(places, best, 1)
    return indices, np.sqrt(np.maximum(squares, 0))


def _rows(name: str, x) -> np.ndarray:
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiu":
        got = getattr(x, "dtype", None) or type(x).__name__
        raise TypeError(f"{name}: expected a NumPy array of numbers, got {got}")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{name}: expected (N, …) with N ≥ 1, got shape {x.shape}")
    return x.reshape(len(x), -1)
