"""The container of pictures with boxes and masks, and its batches."""

import dataclasses

import numpy as np
import pytest

from tinydiff.data import NOTHING, Batches, Dataset, Scenes, ordered, semantic_masks


def scenes(count=6, side=8, room=3, masks=True) -> Scenes:
    """Scene i has i % (room + 1) objects; object k is the block of pixels in its box."""
    images = np.random.default_rng(0).integers(0, 256, (count, side, side + 4, 3)).astype(np.uint8)
    labels = np.full((count, room), NOTHING)
    boxes = np.zeros((count, room, 4), np.float32)
    instances = np.zeros(images.shape[:3], np.uint8)
    for i in range(count):
        for k in range(i % (room + 1)):
            x0, y0, x1, y1 = 3 * k, 2 * k, 3 * k + 2, 2 * k + 3
            labels[i, k], boxes[i, k] = (i + k) % 5, (x0, y0, x1, y1)
            instances[i, y0:y1, x0:x1] = k + 1
            images[i, y0:y1, x0:x1] = 10 * k
    captions = tuple(f"scene {i}" for i in range(count))
    return Scenes(
        "test", images, labels, boxes, tuple("abcde"), instances if masks else None, captions
    )


def tight(instances, k):
    rows, columns = np.nonzero(instances == k + 1)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_scene_has_no_padding():
    data = scenes()
    for i in range(len(data)):
        scene = data[i]
        assert len(scene.labels) == len(scene.boxes) == len(scene.masks) == i % 4
        assert scene.caption == f"scene {i}"
        assert np.array_equal(scene.masks.any(axis=0), scene.instances > 0)
    assert data[0].masks.shape == (0, 8, 12)


def test_a_slice_is_a_data_set():
    part = scenes()[2:5]
    assert isinstance(part, Scenes) and len(part) == 3
    assert part.captions == ("scene 2", "scene 3", "scene 4")
    assert np.array_equal(part[1].boxes, scenes()[3].boxes)
    assert scenes(masks=False)[1:3].instances is None


def test_scenes_of_one_object_are_pictures_of_a_class():
    data = scenes(room=1)
    with pytest.raises(ValueError, match="test: scene 0 shows 0 objects, expected one"):
        data.one_each()
    with pytest.raises(ValueError, match="scene 0 shows 2 objects"):
        scenes()[2:4].one_each()
    one = data[1:2].one_each()
    assert isinstance(one, Dataset) and one.name == "test" and one.classes == tuple("abcde")
    assert np.array_equal(one.images, data.images[1:2]) and one.labels.tolist() == [1]


def test_says_what_it_is():
    assert repr(scenes()) == "Scenes('test': 6 images 8x12x3, up to 3 objects of 5 classes)"


def test_semantic_masks_name_the_class_of_each_pixel():
    data = scenes()
    classes = semantic_masks(data.labels, data.instances)
    assert classes.dtype == np.int64
    for i in range(len(data)):
        expected = np.zeros((8, 12), int)
        for label, mask in zip(data[i].labels, data[i].masks, strict=True):
            expected[mask] = label + 1
        assert np.array_equal(classes[i], expected)


def test_semantic_masks_refuse_one_scene_alone():
    with pytest.raises(ValueError, match=r"labels must be \(N, K\)"):
        semantic_masks(scenes()[3].labels, scenes()[3].instances)


@pytest.mark.parametrize("pad", [0, 2])
def test_boxes_and_masks_follow_the_picture(pad):
    batches = Batches(scenes(), 6, flip=True, pad=pad, value_range=(0, 255))
    plain = Batches(scenes(), 6, value_range=(0, 255))
    flipped = 0
    for step in range(8):
        x, labels, boxes, instances = batches[step]
        before, *_ = plain[step]
        assert x.shape[1:3] == instances.shape[1:] == (8 + 2 * pad, 12 + 2 * pad)
        assert boxes.dtype == np.float32 and labels.dtype == np.int64
        inner = x[:, pad : 8 + pad, pad : 12 + pad]
        mirrored = (inner == before[:, :, ::-1]).all(axis=(1, 2, 3))
        flipped += mirrored.sum()
        assert (mirrored | (inner == before).all(axis=(1, 2, 3))).all()
        for i in range(6):
            number = (labels[i] != NOTHING).sum()
            assert instances[i].max() == number
            for k in range(number):
                assert boxes[i, k].tolist() == tight(instances[i], k)
                assert (x[i][instances[i] == k + 1] == 10 * k).all()
            assert not boxes[i, number:].any()
    assert 10 < flipped < 40


def test_a_batch_without_masks_has_none_and_a_changed_batch_changes_nothing():
    data = scenes(masks=False)
    assert Batches(data, 2, flip=True, pad=1)[0][3] is None
    data = scenes()
    for batch in (Batches(data, 6)[0], next(ordered(data, 6))):
        for array in batch[1:]:
            array[:] = 9
    assert np.array_equal(data.boxes, scenes().boxes)
    assert np.array_equal(data.labels, scenes().labels)
    assert np.array_equal(data.instances, scenes().instances)


def test_in_order_every_scene_comes_once():
    data = scenes()
    x, labels, boxes, instances = zip(*ordered(data, 4, value_range=(0, 255)), strict=True)
    assert np.array_equal(np.concatenate(x), data.images)
    assert np.array_equal(np.concatenate(labels), data.labels)
    assert np.array_equal(np.concatenate(boxes), data.boxes)
    assert np.array_equal(np.concatenate(instances), data.instances)


def changed(field, index, value):
    array = getattr(scenes(), field).copy()
    array[index] = value
    return {field: array}


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"name": ""}, TypeError, "name must be a text"),
        ({"classes": ["a"]}, TypeError, "classes must be a tuple"),
        ({"images": np.zeros((6, 8, 12, 2), np.uint8)}, ValueError, "images must be"),
        ({"images": np.zeros((6, 8, 12, 3))}, TypeError, "images must be uint8, got float64"),
        ({"labels": np.zeros(6, np.int64)}, ValueError, r"labels must be \(6, K\)"),
        ({"labels": np.zeros((6, 3), np.int32)}, TypeError, "labels must be int64"),
        (changed("labels", (2, 0), 5), ValueError, r"labels must lie in 0 \.\.\. 4"),
        (changed("labels", (2, 0), -2), ValueError, "range from -2"),
        (changed("labels", (2, 0), NOTHING), ValueError, "only after a picture's last object"),
        ({"boxes": np.zeros((6, 3, 4))}, TypeError, "boxes must be float32"),
        ({"boxes": np.zeros((6, 3), np.float32)}, ValueError, "boxes must have shape"),
        (changed("boxes", (0, 0), 1), ValueError, "no object"),
        (changed("boxes", (1, 0), (1, 1, 1, 3)), ValueError, "x0 < x1 <= 12"),
        (changed("boxes", (1, 0), (1, 1, 3, 9)), ValueError, "y0 < y1 <= 8"),
        (changed("boxes", (1, 0), np.nan), ValueError, "boxes must be"),
        ({"instances": np.zeros((6, 8, 8), np.uint8)}, ValueError, "instances must have shape"),
        ({"instances": np.zeros((6, 8, 12), int)}, TypeError, "instances must be uint8"),
        (changed("instances", (1, 0, 0), 2), ValueError, "number of a scene's labels"),
        ({"captions": ("one",)}, ValueError, "captions must be 6"),
        ({"captions": "sixsix"}, TypeError, "captions must be a tuple"),
    ],
)
def test_refuses(fields, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(scenes(), **fields)


def test_masks_that_are_not_known_are_not_made_up():
    with pytest.raises(ValueError, match="no masks"):
        _ = scenes(masks=False)[1].masks


def test_each_caption_a_class():
    captions = ("b", "a", "b", "c, d", "a", "b")
    told = dataclasses.replace(scenes(), captions=captions)
    dataset = told.by_caption()
    assert dataset.classes == ("a", "b", "c, d") and dataset.name == told.name
    assert tuple(dataset.classes[label] for label in dataset.labels) == captions
    assert dataset.images is told.images
    with pytest.raises(ValueError, match="has no captions"):
        dataclasses.replace(told, captions=()).by_caption()
