"""Segmentation's measure: a picture by hand, sets of pixels, and what is not counted."""

import numpy as np
import pytest

from tinydiff.vision import class_iou, confusion_matrix, mean_iou


def test_a_picture_by_hand():
    true = np.array([[0, 0, 1], [0, 2, 1]])
    predicted = np.array([[0, 1, 1], [0, 1, 1]])
    confusion = confusion_matrix(predicted, true, 4)
    expected = [[2, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(confusion, expected)
    np.testing.assert_allclose(class_iou(confusion), [2 / 3, 2 / 4, 0, np.nan])
    assert mean_iou(predicted, true, 4) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_is_a_count_of_sets(rng):
    true, predicted = rng.integers(0, 5, (2, 3, 8, 9)), rng.integers(0, 4, (2, 3, 8, 9))
    pixels = list(np.ndindex(true.shape))
    expected = []
    for c in range(5):
        a, b = ({p for p in pixels if labels[p] == c} for labels in (true, predicted))
        expected.append(len(a & b) / len(a | b))
    np.testing.assert_allclose(class_iou(confusion_matrix(predicted, true, 5)), expected)
    assert mean_iou(predicted, true, 5) == pytest.approx(np.mean(expected))


def test_batches_add_up_and_are_not_averaged(rng):
    true, predicted = rng.integers(0, 3, (2, 10, 4, 4))
    parts = sum(
        confusion_matrix(p, t, 3) for p, t in zip(predicted.astype(np.uint8), true, strict=True)
    )
    np.testing.assert_array_equal(parts, confusion_matrix(predicted, true, 3))


def test_perfect_and_nothing():
    assert mean_iou([[0, 1]], [[0, 1]], 3) == 1
    assert np.isnan(mean_iou([[0, 1]], [[-1, -1]], 3))
    assert np.isnan(mean_iou(np.zeros((0, 2), int), np.zeros((0, 2), int), 3))


def test_pixels_may_be_left_out():
    assert mean_iou([0, 1, 1], [0, 1, -1], 2) == 1
    assert mean_iou([0, 1, 7], [0, 1, -1], 2) == 1  # whatever is said of them


def test_refusals():
    for call, error, message in (
        (lambda: mean_iou([0, 1], [0], 2), ValueError, r"predicted: expected shape \(1,\)"),
        (lambda: mean_iou([0, 2], [0, 1], 2), ValueError, "predicted: expected classes 0 … 1"),
        (lambda: mean_iou([0, -1], [0, 1], 2), ValueError, "predicted: expected classes"),
        (lambda: mean_iou([0, 1], [0, 2], 2), ValueError, "true: expected classes 0 … 1"),
        (lambda: mean_iou([0.0, 1], [0, 1], 2), TypeError, "predicted: expected integers"),
    ):
        with pytest.raises(error, match=message):
            call()
