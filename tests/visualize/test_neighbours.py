"""Nearest neighbours against a comparison one by one, whatever is compared at a time."""

import numpy as np
import pytest

from tinydiff.visualize import nearest


def by_pairs(queries, points, k):
    """Indices and distances, every pair by itself."""
    distances = np.array([[np.linalg.norm(q.ravel() - p.ravel()) for p in points] for q in queries])
    order = np.argsort(distances, axis=1)[:, :k]
    return order, np.take_along_axis(distances, order, 1)


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("block", [30, 200, 10_000])
def test_finds_those_that_a_comparison_one_by_one_finds(k, block, rng, monkeypatch):
    monkeypatch.setattr("tinydiff.visualize.neighbours.BLOCK", block)  # 3 points at a time, 20, all
    monkeypatch.setattr("tinydiff.metrics.distances.CHUNK", 70)
    queries, points = 50 + rng.standard_normal((23, 10)), 50 + rng.standard_normal((40, 10))
    indices, distances = nearest(queries.astype(np.float32), points, k)
    expected = by_pairs(queries.astype(np.float32).astype(float), points, k)
    assert indices.dtype == np.int64 and indices.shape == distances.shape == (23, k)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-9)


def test_pictures_as_bytes_do_not_wrap_around(rng):
    queries = rng.integers(0, 256, (6, 5, 4, 3), np.uint8)
    points = rng.integers(0, 256, (30, 5, 4, 3), np.uint8)
    indices, distances = nearest(queries, points, 4)
    _, expected = by_pairs(queries.astype(float), points.astype(float), 4)
    np.testing.assert_allclose(distances, expected, rtol=1e-9)
    chosen = points[indices].astype(float) - queries[:, None]
    found = np.sqrt(np.square(chosen).sum(axis=(2, 3, 4)))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_picture_is_its_own_neighbour(rng):
    points = rng.integers(0, 256, (30, 8), np.uint8)
    indices, distances = nearest(points, points, 1)
    assert indices[:, 0].tolist() == list(range(30))
    assert distances.max() < 1e-4


GOOD = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ((GOOD, GOOD, 0), ValueError, "k: expected 1 … 3, no more than points, got 0"),
        ((GOOD, GOOD, 4), ValueError, "got 4"),
        ((GOOD, GOOD, 1.5), TypeError, "float"),
        ((GOOD, np.zeros((3, 4)), 1), ValueError, "queries: expected 4 numbers each .*, got 2"),
        ((GOOD[:0], GOOD, 1), ValueError, r"queries: expected \(N, …\) with N ≥ 1"),
        ((GOOD, np.zeros(3), 1), ValueError, r"points: expected \(N, …\)"),
        ((GOOD.tolist(), GOOD, 1), TypeError, "queries: expected a NumPy array of numbers, got li"),
        ((GOOD, GOOD > 0, 1), TypeError, "points: .*got bool"),
    ],
)
def test_refuses(given, kind, message):
    with pytest.raises(kind, match=message):
        nearest(*given)
