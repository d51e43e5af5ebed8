"""Boxes against pixels counted one by one, hand-made pairs, and what there is nothing of."""

import numpy as np
import pytest
from vision.random_boxes import boxes_anywhere, boxes_on_grid

from tinydiff.vision import (
    Objects,
    area,
    clip,
    describe,
    giou,
    iou,
    mask_iou,
    to_centres,
    to_corners,
)

NONE = np.zeros((0, 4))


def pixels(box, size=8):
    """The set of pixels of a box with whole corners."""
    x0, y0, x1, y1 = map(int, box)
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


def test_overlap_is_a_count_of_pixels(rng):
    a, b = boxes_on_grid(rng, 40), boxes_on_grid(rng, 30)
    found, general = iou(a, b), giou(a, b)
    assert found.shape == general.shape == (40, 30)
    for i, p in enumerate(map(pixels, a)):
        assert area(a)[i] == len(p)
        for j, q in enumerate(map(pixels, b)):
            expected = len(p & q) / len(p | q) if p | q else 0
            assert found[i, j] == pytest.approx(expected, abs=1e-15)
            low, high = np.minimum(a[i], b[j])[:2], np.maximum(a[i], b[j])[2:]
            hull = np.prod(high - low)
            empty = (hull - len(p | q)) / hull if hull else 0
            assert general[i, j] == pytest.approx(expected - empty, abs=1e-15)


def test_the_two_by_hand():
    a = [[0, 0, 2, 2]]
    b = [[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [3, 0, 4, 1], [0.5, 0.5, 1.5, 1.5]]
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 3, 0, 0, 1 / 4]])
    np.testing.assert_allclose(giou(a, b), [[1, 1 / 3, 0, -3 / 8, 1 / 4]])


def test_far_apart_and_without_area():
    far = [[0, 0, 1, 1], [1e6, 0, 1e6 + 1, 1]]
    assert -1 < giou(far, far)[0, 1] < -0.99999
    point, line = [[1, 1, 1, 1]], [[0, 1, 2, 1]]
    for thin in (point, line):
        assert iou(thin, thin) == iou(thin, [[0, 0, 2, 2]]) == 0
        assert area(np.array(thin)) == 0
    assert giou(point, point) == giou(line, line) == 0
    assert giou(line, [[0, 0, 2, 2]]) == 0


def test_none_at_all():
    some = [[0, 0, 1, 1], [0, 0, 2, 2]]
    for function in (iou, giou):
        assert function(NONE, some).shape == (0, 2)
        assert function(some, NONE).shape == (2, 0)
        assert function(NONE, NONE).shape == (0, 0)
    assert area(NONE).shape == (0,)
    assert clip(NONE, 3, 4).shape == to_centres(NONE).shape == to_corners(NONE).shape == (0, 4)
    assert mask_iou(np.zeros((0, 3, 4), bool), np.ones((2, 3, 4), bool)).shape == (0, 2)


def test_corners_and_centres(rng):
    np.testing.assert_array_equal(to_centres(np.array([[1.0, 2, 4, 8]])), [[2.5, 5, 3, 6]])
    boxes = boxes_anywhere(rng, 20)
    np.testing.assert_allclose(to_corners(to_centres(boxes)), boxes, atol=1e-12)


def test_clip_keeps_what_is_inside():
    boxes = [[-5, -1, 3, 2], [1, 1, 2, 2], [3, -2, 9, 9], [20, 3, 30, 4], [-3, -3, -1, -1]]
    inside = clip(boxes, 6, 8)
    expected = [[0, 0, 3, 2], [1, 1, 2, 2], [3, 0, 8, 6], [8, 3, 8, 4], [0, 0, 0, 0]]
    np.testing.assert_array_equal(inside, expected)


def test_masks_of_boxes_overlap_as_the_boxes_do(rng):
    a, b = boxes_on_grid(rng, 12), boxes_on_grid(rng, 9)
    masks = []
    for boxes in (a, b):
        drawn = np.zeros((len(boxes), 8, 8), bool)
        for mask, (x0, y0, x1, y1) in zip(drawn, boxes.astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        masks.append(drawn)
    np.testing.assert_allclose(mask_iou(*masks), iou(a, b), atol=1e-15)


def test_objects_are_picked():
    masks = np.arange(12).reshape(3, 2, 2) % 3 == 0
    objects = Objects(
        [[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], [2, 0, 2], [0.5, 0.25, 0.75], masks
    )
    of_two = objects[objects.labels == 2]
    assert of_two.boxes[:, 2].tolist() == [1, 3]
    assert of_two.scores.tolist() == [0.5, 0.75]
    np.testing.assert_array_equal(of_two.masks, masks[[0, 2]])
    assert len(objects[np.zeros(0, int)]) == 0
    assert len(Objects(NONE, [])) == 0
    assert Objects(NONE, []).scores is None
    assert objects.at_least(0.5).scores.tolist() == [0.5, 0.75]
    truth = Objects(NONE, [])
    assert truth.at_least(0.5) is truth


def test_objects_in_words():
    objects = Objects([[0, 0, 1, 1], [2.04, 3, 4, 5.06]], [1, 0], [0.5, 0.987])
    assert describe(objects, ("circle", "star")) == [
        "star 50% at [0.0, 0.0, 1.0, 1.0]",
        "circle 99% at [2.0, 3.0, 4.0, 5.1]",
    ]
    assert describe(Objects(NONE, [], []), ("circle",)) == []


ONE = [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: iou([0, 0, 1, 1], ONE), r"a: expected corners \(K, 4\), got shape \(4,\)"),
        (lambda: iou(ONE, [[0, 0, 1]]), "b: expected corners"),
        (
            lambda: giou(ONE, [[2, 0, 1, 1]]),
            r"b: expected .* x0 ≤ x1 .* got \[2.0, 0.0, 1.0, 1.0\]",
        ),
        (lambda: giou([[0, 2, 1, 1]], ONE), "a: expected .* y0 ≤ y1"),
        (lambda: clip([[0, 0, np.nan, 1]], 2, 2), "boxes: expected finite"),
        (lambda: clip([[0, 0, np.inf, 1]], 2, 2), "boxes: expected finite"),
        (lambda: Objects(ONE, [0, 1]), "labels: expected a class ≥ 0 for each of 1 boxes"),
        (lambda: Objects(ONE, [-1]), "labels: expected a class ≥ 0"),
        (lambda: Objects(ONE, [0], [np.nan]), "scores: expected a number for each"),
        (lambda: Objects(ONE, [0], [1, 2]), "scores: expected a number for each of 1 boxes"),
        (lambda: Objects(ONE, [0], None, np.ones((2, 3), bool)), "masks: expected .1, H, W"),
        (lambda: mask_iou(np.ones((1, 2, 3), bool), np.ones((1, 3, 2), bool)), "masks .* one size"),
    ],
)
def test_refuses_wrong_values(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: iou([["a"] * 4], ONE), "a: expected numbers"),
        (lambda: Objects(ONE, [0.5]), "labels: expected integers, got float64"),
        (lambda: Objects(ONE, [0], [True]), "scores: expected numbers, got bool"),
        (lambda: Objects(ONE, [0], None, np.ones((1, 2, 3))), "masks: expected booleans"),
    ],
)
def test_refuses_wrong_types(wrong, message):
    with pytest.raises(TypeError, match=message):
        wrong()
