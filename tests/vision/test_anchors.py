"""Anchors: clusters that are known, the same seed, and too few boxes."""

import numpy as np
import pytest

from tinydiff.vision import anchors_of, iou, mean_fit, shape_iou


def test_shapes_overlap_as_boxes_with_one_corner(rng):
    a, b = rng.uniform(1, 9, (6, 2)), rng.uniform(1, 9, (4, 2))
    at_zero = [np.hstack([np.zeros_like(s), s]) for s in (a, b)]
    np.testing.assert_allclose(shape_iou(a, b), iou(*at_zero))
    assert shape_iou(np.zeros((1, 2)), np.zeros((1, 2))) == 0


def test_finds_the_clusters_there_are(rng):
    centres = np.array([[4.0, 4], [5, 40], [40, 5], [60, 60], [150, 100]])
    which = rng.integers(0, 5, 400)
    sizes = centres[which] * rng.uniform(0.95, 1.05, (400, 2))
    found = anchors_of(sizes, 5)
    means = np.array([sizes[which == i].mean(axis=0) for i in range(5)])
    np.testing.assert_allclose(found, means[np.argsort(means.prod(axis=1))], rtol=1e-12)


def test_an_error_counts_by_its_share():
    """Two small shapes and two large ones: Euclid would part the large ones, which lie further."""
    sizes = np.array([[1.0, 1], [3, 3], [100, 100], [108, 108]])
    np.testing.assert_allclose(anchors_of(sizes, 3), [[1, 1], [3, 3], [104, 104]])


def test_more_anchors_fit_better(rng):
    sizes = rng.uniform(2, 100, (300, 2))
    fits = [mean_fit(sizes, anchors_of(sizes, k)) for k in range(1, 8)]
    assert (np.diff(fits) > 0).all()
    assert fits[4] > mean_fit(sizes, rng.choice(sizes, 5, replace=False))


def test_the_same_seed_gives_the_same_anchors(rng):
    sizes = rng.uniform(2, 100, (200, 2))
    np.testing.assert_array_equal(anchors_of(sizes, 5, seed=3), anchors_of(sizes, 5, seed=3))
    areas = anchors_of(sizes, 5).prod(axis=1)
    assert (np.diff(areas) >= 0).all()


def test_as_many_anchors_as_sizes():
    sizes = np.array([[2, 2], [1, 1], [2, 2], [4, 1], [0, 5]])  # the last is no box
    np.testing.assert_array_equal(anchors_of(sizes, 3), [[1, 1], [2, 2], [4, 1]])
    assert mean_fit(sizes[:4], anchors_of(sizes, 3)) == 1


@pytest.mark.parametrize("k", [0, 4])
def test_more_anchors_than_sizes(k):
    sizes = np.array([[2, 2], [1, 1], [2, 2], [4, 1]])
    with pytest.raises(ValueError, match=f"k: expected 1 … 3, the number of sizes, got {k}"):
        anchors_of(sizes, k)


@pytest.mark.parametrize("sizes", [[1.0, 2], [[1.0, -1]], [[1.0, np.nan]], [[1.0, 2, 3]]])
def test_refuses_other_sizes(sizes):
    with pytest.raises(ValueError, match="sizes: expected widths and heights"):
        anchors_of(sizes, 1)
