"""The built-in scenes through all of it: what is there is assigned, said, found, and measured."""

import numpy as np
import pytest

from tinydiff import data
from tinydiff.vision import (
    Objects,
    YoloBatches,
    YoloGrid,
    anchors_of,
    assign,
    average_precision,
    coco_average_precision,
    mean_fit,
    objects_of,
)


@pytest.fixture(scope="module")
def scenes():
    return data.shapes("train", 12, side=64)


def test_objects_are_those_of_the_scenes(scenes):
    truths = objects_of(scenes.labels, scenes.boxes, scenes.instances)
    for n, true in enumerate(truths):
        np.testing.assert_array_equal(true.labels, scenes[n].labels)
        np.testing.assert_array_equal(true.boxes, scenes[n].boxes)
        assert sum(mask.sum() for mask in true.masks) == (scenes.instances[n] > 0).sum()
        for mask, box in zip(true.masks, true.boxes, strict=True):
            rows, columns = np.nonzero(mask)
            hug = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert box.tolist() == list(hug)
    assert objects_of(scenes.labels, scenes.boxes)[0].masks is None


def test_a_scene_without_objects():
    (none,) = objects_of(np.full((1, 3), -1), np.zeros((1, 3, 4)), np.zeros((1, 8, 8), np.uint8))
    assert len(none) == 0 and none.masks.shape == (0, 8, 8)


def test_all_is_found_by_who_says_the_truth(scenes):
    truths = objects_of(scenes.labels, scenes.boxes, scenes.instances)
    said = [Objects(t.boxes, t.labels, np.ones(len(t)), t.masks) for t in truths]
    classes = len(scenes.classes)
    for by in ("boxes", "masks"):
        assert coco_average_precision(said, truths, classes=classes, by=by).ap == 1
        assert np.nanmin(average_precision(said, truths, classes=classes, by=by)) == 1


def test_all_are_assigned_a_box(scenes):
    truths = objects_of(scenes.labels, scenes.boxes)
    sizes = np.concatenate([t.boxes[:, 2:] - t.boxes[:, :2] for t in truths])
    cells = (13, 13)
    anchors = anchors_of(sizes / (64 / 13), 5)
    assert mean_fit(sizes / (64 / 13), anchors) > 0.7
    targets = assign(truths, YoloGrid((64, 64), cells, anchors, len(scenes.classes)))
    assert len(targets.place) == sum(map(len, truths))


def test_batches_have_the_targets_of_their_own_pictures(scenes):
    grid = YoloGrid((64, 64), (8, 8), [[2.0, 2.0], [4.0, 4.0]], len(scenes.classes))
    plain = data.Batches(scenes, 5, seed=3, flip=True)
    for step in (0, 7):
        x, targets = YoloBatches(data.Batches(scenes, 5, seed=3, flip=True), grid)[step]
        pictures, labels, boxes, _ = plain[step]
        np.testing.assert_array_equal(x, pictures)
        expected = assign(objects_of(labels, boxes), grid)
        for name in ("place", "t", "boxes", "labels", "truths"):
            np.testing.assert_array_equal(getattr(targets, name), getattr(expected, name))
