"""Masks cut out by boxes and pasted back: bin by bin and pixel by pixel, and what they cost."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import data
from tinydiff.backend import asarray
from tinydiff.vision import MaskBatches, crop_masks, mask_iou, mask_loss, paste_masks

BOX = np.array([[3.0, 2.0, 11.0, 10.0]])


def bilinear(image, y, x):
    """The image between its pixels' centres, which go on beyond the border."""
    (height, width), found = image.shape, 0.0
    for i, wy in ((np.floor(y - 0.5), 1 - (y - 0.5) % 1), (np.floor(y - 0.5) + 1, (y - 0.5) % 1)):
        for j, wx in (
            (np.floor(x - 0.5), 1 - (x - 0.5) % 1),
            (np.floor(x - 0.5) + 1, (x - 0.5) % 1),
        ):
            pixel = image[int(np.clip(i, 0, height - 1)), int(np.clip(j, 0, width - 1))]
            found += wy * wx * pixel
    return found


def test_a_crop_is_the_mean_of_four_samples_a_bin(rng):
    masks = rng.random((3, 9, 13)) < 0.5
    boxes = np.array([[1.2, 0.5, 9.7, 8.1], [0, 0, 13, 9], [5, 2, 5.5, 2.25]])
    crops = crop_masks(masks, boxes, 4)
    assert crops.shape == (3, 4, 4) and crops.dtype == np.float32
    for mask, (x0, y0, x1, y1), crop in zip(masks, boxes, crops, strict=True):
        for i in range(4):
            for j in range(4):
                places = [
                    (y0 + (i + a) * (y1 - y0) / 4, x0 + (j + b) * (x1 - x0) / 4)
                    for a in (0.25, 0.75)
                    for b in (0.25, 0.75)
                ]
                mean = np.mean([bilinear(mask.astype(float), y, x) for y, x in places])
                assert crop[i, j] == pytest.approx(mean, abs=1e-6)


def test_a_mask_is_read_back_where_each_pixel_lies(rng):
    crops, boxes = rng.random((2, 5, 5)), np.array([[1.2, 0.5, 9.7, 8.1], [-3, 2, 20, 12]])
    masks = paste_masks(crops, boxes, 9, 13)
    assert masks.shape == (2, 9, 13) and masks.dtype == bool
    for crop, (x0, y0, x1, y1), mask in zip(crops, boxes, masks, strict=True):
        for i in range(9):
            for j in range(13):
                y, x = i + 0.5, j + 0.5
                read = bilinear(crop, (y - y0) / (y1 - y0) * 5, (x - x0) / (x1 - x0) * 5)
                expected = x0 <= x < x1 and y0 <= y < y1 and read >= 0.5
                assert mask[i, j] == expected or abs(read - 0.5) < 1e-9, (i, j)


def test_back_where_it_came_from():
    """Bins that are pixels lose nothing; coarser ones little."""
    mask = np.zeros((1, 14, 16), bool)
    mask[0, 2:10, 3:7] = mask[0, 5:10, 3:11] = True
    assert np.array_equal(paste_masks(crop_masks(mask, BOX, 8), BOX, 14, 16), mask)
    scenes = data.shapes("test", 20, side=208)
    for k in range(len(scenes)):
        masks, boxes = scenes[k].masks, scenes[k].boxes
        back = paste_masks(crop_masks(masks, boxes, 28), boxes, 208, 208)
        assert np.diag(mask_iou(back, masks)).min() > 0.9


def test_all_and_nothing():
    ones = np.ones((1, 4, 4), np.float32)
    inside = np.zeros((1, 14, 16), bool)
    inside[0, 2:10, 3:11] = True
    assert np.array_equal(paste_masks(ones, BOX, 14, 16), inside)
    assert not paste_masks(0 * ones, BOX, 14, 16).any()
    assert (crop_masks(inside, BOX, 4) == 1).all()  # the box sees itself, and nothing beyond


def test_boxes_on_the_border_without_area_and_outside():
    ones = np.ones((4, 4, 4), np.float32)
    boxes = np.array([[12, 10, 16, 14], [5, 3, 5, 9], [4, 4, 4, 4], [20, 3, 30, 9]])
    masks = paste_masks(ones, boxes, 14, 16)
    assert masks.sum(axis=(1, 2)).tolist() == [16, 0, 0, 0]
    assert masks[0, 10:, 12:].all()
    crops = crop_masks(np.ones((4, 14, 16), bool), boxes, 4)
    assert np.isfinite(crops).all() and (crops == 1).all()


def test_a_pixel_whose_centre_is_on_the_border_belongs_to_the_box_on_its_right():
    pixels = paste_masks(np.ones((2, 4, 4)), np.array([[0.5, 0, 2.5, 6], [2.5, 0, 4.5, 6]]), 6, 6)
    assert [np.flatnonzero(mask[0]).tolist() for mask in pixels] == [[0, 1], [2, 3]]
    lower = paste_masks(np.ones((1, 4, 4)), np.array([[0, 0.5, 6, 2.5]]), 6, 6)
    assert np.flatnonzero(lower[0, :, 0]).tolist() == [0, 1]


def test_none_at_all():
    none = np.zeros((0, 4))
    assert crop_masks(np.zeros((0, 14, 16), bool), none, 4).shape == (0, 4, 4)
    assert paste_masks(np.zeros((0, 4, 4)), none, 14, 16).shape == (0, 14, 16)
    z = td.Tensor(np.zeros((0, 4, 4)), requires_grad=True)
    loss = mask_loss(z, asarray(np.zeros((0, 4, 4))))
    loss.backward()
    assert loss.item() == 0 and z.grad.shape == (0, 4, 4)


def test_the_loss_is_its_formula(rng):
    z, t = rng.standard_normal((3, 4, 4)), rng.random((3, 4, 4))
    p = 1 / (1 + np.exp(-z))
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    assert mask_loss(td.Tensor(z), asarray(t)).item() == pytest.approx(expected, rel=1e-12)
    td.gradcheck(lambda z: mask_loss(z, asarray(t)), z)
    far = mask_loss(td.Tensor(np.full((1, 2, 2), -1000.0)), asarray(np.ones((1, 2, 2))))
    assert far.item() == 1000


# Batches


def batches(jitter=0.1, **settings):
    scenes = data.shapes("train", 12, side=64, objects=(1, 4))
    return MaskBatches(data.Batches(scenes, 4, **settings), 8, jitter=jitter)


def test_without_jitter_the_boxes_are_the_true_ones():
    several = batches(jitter=0)
    x, boxes, targets = several[0]
    inner, _, corners, instances = several.batches[0]
    assert np.array_equal(x, inner)
    assert [len(b) for b in boxes] == [(b.any(axis=1)).sum() for b in corners]
    assert np.array_equal(np.concatenate(boxes), corners[corners.any(axis=2)])
    first = crop_masks(instances[:1] == 1, boxes[0][:1], 8)
    assert np.array_equal(targets[:1], first) and targets.dtype == np.float32
    assert 0.2 < targets.mean() < 0.9


def test_jitter_is_of_the_boxes_size_and_stays_in_the_picture():
    several = batches()
    moved, true = [], []
    for step in range(60):
        moved += several[step][1]
        true += [b[b.any(axis=1)] for b in several.batches[step][2]]
    moved, true = np.concatenate(moved), np.concatenate(true)
    assert moved.min() >= 0 and moved.max() <= 64
    assert (moved[:, :2] < moved[:, 2:]).all()
    away = (moved - true) / np.tile(true[:, 2:] - true[:, :2], 2)
    free = (true > 8) & (true < 56)
    assert away[free].std() == pytest.approx(0.1, rel=0.1)
    assert abs(away[free].mean()) < 0.01


def test_the_same_step_is_the_same_batch():
    for a, b, other in zip(batches()[3], batches()[3], batches(seed=1)[3], strict=True):
        assert np.array_equal(np.concatenate(a), np.concatenate(b))
        assert not np.array_equal(np.concatenate(a)[:1], np.concatenate(other)[:1])


def test_pictures_without_objects():
    images = np.zeros((4, 32, 32, 3), np.uint8)
    labels, boxes = np.full((4, 2), data.NOTHING), np.zeros((4, 2, 4), np.float32)
    empty = data.Scenes("empty", images, labels, boxes, ("a",), images[..., 0])
    _, found, targets = MaskBatches(data.Batches(empty, 4), 8, jitter=0.1)[0]
    assert [b.shape for b in found] == [(0, 4)] * 4 and targets.shape == (0, 8, 8)


def test_refusals():
    masks = np.ones((2, 8, 8), bool)
    for function, rest in ((crop_masks, (4,)), (paste_masks, (8, 8))):
        with pytest.raises(ValueError, match=r"masks: expected \(1, H, W\), got shape \(2, 8, 8\)"):
            function(masks, BOX, *rest)
        with pytest.raises(ValueError, match="boxes: expected finite corners"):
            function(masks[:1], BOX[:, ::-1], *rest)
    with pytest.raises(ValueError, match="differ in shape"):
        mask_loss(td.Tensor(np.zeros((1, 4, 4))), asarray(np.zeros((1, 4, 5))))
    scenes = data.shapes("train", 2, side=32, objects=1)
    blind = data.Scenes("blind", scenes.images, scenes.labels, scenes.boxes, scenes.classes)
    with pytest.raises(ValueError, match="masks"):
        MaskBatches(data.Batches(blind, 2), 8, jitter=0.1)
    for jitter in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="jitter: expected a number ≥ 0"):
            MaskBatches(data.Batches(scenes, 2), 8, jitter=jitter)
