"""Precision and recall against a pair-by-pair count, hand-made clouds, and repeated draws."""

import numpy as np
import pytest

from tinydiff.metrics import precision_recall
from tinydiff.metrics.precision_recall import within


def by_pairs(points, sample, k):
    """Algorithm 1 as it is written: every distance by itself, neighbours sorted."""
    inside = []
    for p in points:
        hit = False
        for i, s in enumerate(sample):
            others = [np.linalg.norm(s - t) for j, t in enumerate(sample) if j != i]
            hit = hit or np.linalg.norm(p - s) <= sorted(others)[k - 1]
        inside.append(hit)
    return np.array(inside)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_counts_as_the_paper_does(k, rng, monkeypatch):
    monkeypatch.setattr("tinydiff.metrics.distances.CHUNK", 200)  # several chunks
    real = 100 + rng.standard_normal((40, 3))  # far from 0, where squares cancel
    drawn = 101.5 + rng.standard_normal((31, 3))
    precision, recall = precision_recall(real, drawn, k=k)
    expected = by_pairs(drawn, real, k), by_pairs(real, drawn, k)
    assert 0 < expected[0].mean() < 1 and 0 < expected[1].mean() < 1
    assert precision.value == expected[0].mean()
    assert recall.value == expected[1].mean()


def test_a_line_by_hand():
    """Points 0, 1, 3, 7: with k = 1 the radii are 1, 1, 2, 4; with k = 2, 3, 2, 3, 6."""
    sample = np.array([[0.0], [1], [3], [7]])
    points = np.array([[-1.5], [-1.0], [2.0], [5.5], [11.0], [12.0]])
    assert within(points, sample, 1).tolist() == [False, True, True, True, True, False]
    assert within(points, sample, 2).tolist() == [True, True, True, True, True, True]


def test_what_the_two_tell_apart(rng):
    kinds = np.array([[0.0, 0], [100, 0]])
    real = kinds[np.arange(200) % 2] + rng.standard_normal((200, 2))
    one_kind = 0.5 * rng.standard_normal((200, 2))
    precision, recall = precision_recall(real, one_kind)
    assert precision.value > 0.97
    assert 0.3 < recall.value < 0.5, "the other kind, and the first one's rim, are missing"
    noise = rng.uniform(-300, 300, (200, 2))
    precision, recall = precision_recall(real, noise)
    assert precision.value < 0.05
    assert precision_recall(real, real.copy())[0].value == 1


def test_errors_are_about_the_scatter(rng):
    """Binomial errors leave out that the manifold, too, would be another with other pictures."""
    found = [
        precision_recall(*rng.standard_normal((2, 150, 4)) * [[[1.0]], [[1.3]]]) for _ in range(60)
    ]
    for which in (0, 1):
        scatter = np.std([f[which].value for f in found], ddof=1)
        said = np.mean([f[which].error for f in found])
        assert 0.5 < said / scatter < 1.3


@pytest.mark.parametrize("k", [0, 10])
def test_refuses_neighbours_that_there_are_not(k, rng):
    x = rng.standard_normal((10, 2))
    with pytest.raises(ValueError, match=f"k: expected 1 … 9, fewer than pictures, got {k}"):
        precision_recall(x, x, k=k)


def test_refuses_other_features(rng):
    with pytest.raises(ValueError, match="of one length"):
        precision_recall(rng.standard_normal((10, 2)), rng.standard_normal((10, 3)))
