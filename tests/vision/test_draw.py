"""Boxes and masks drawn on pictures: where they are, and nowhere else."""

import numpy as np
import pytest

from tinydiff.vision import Objects, draw_mask, draw_names, draw_objects, draw_rows
from tinydiff.vision.draw import colour_of

NAMES = ("circle", "star", "cross")
GREY = np.full((60, 80, 3), 90, np.uint8)


def drawn(boxes, labels, scores=None, image=GREY, **settings):
    return draw_objects(image, Objects(boxes, labels, scores), NAMES, **settings)


@pytest.mark.parametrize("scale", [1, 3])
def test_the_frame_lies_in_the_box(scale):
    picture = drawn([[20, 30, 50, 55]], [1], scale=scale)
    assert picture.shape == (60 * scale, 80 * scale, 3) and picture.dtype == np.uint8
    x0, y0, x1, y1 = (scale * c for c in (20, 30, 50, 55))
    inner = slice(y0 + 2, y1 - 2), slice(x0 + 2, x1 - 2)
    assert (picture[inner] == 90).all()
    box = picture[y0:y1, x0:x1].copy()
    box[2:-2, 2:-2] = colour_of(1)
    assert (box == colour_of(1)).all()
    assert (picture[y0:, x1 + 60 :] == 90).all() and (picture[y1:] == 90).all()
    assert (picture[y0:y1, :x0] == 90).all()


def test_nothing_to_draw_is_a_copy():
    picture = drawn(np.zeros((0, 4)), [])
    assert np.array_equal(picture, GREY)
    picture[0, 0] = 0
    assert (GREY == 90).all()
    grey = draw_objects(GREY[..., :1], Objects(np.zeros((0, 4)), []), NAMES, scale=2)
    assert np.array_equal(grey, np.full((120, 160, 3), 90))


def test_class_and_score_stand_above_or_where_there_is_room():
    above = drawn([[20, 30, 50, 55]], [1])
    plate = above[30 - 14 : 30, 20:50]
    assert (plate == colour_of(1)).all(axis=-1).any() and (plate == 255).all(axis=-1).any()
    with_score = drawn([[20, 30, 50, 55]], [1], [0.87])
    changed = [(p != 90).any(axis=-1).sum() for p in (above, with_score)]
    assert changed[1] > changed[0] + 100  # "star 87%" is longer than "star"
    for box in ([70, 0, 80, 10], [0, 0, 80, 60], [75, 55, 80, 60]):
        assert not np.array_equal(drawn([box], [0], [1.0]), drawn([box], [0], [0.5])), box
    narrow = drawn([[2, 2, 6, 6]], [0], [1.0], image=GREY[:8, :10])
    assert narrow.shape == (8, 10, 3)


def test_rows_come_one_after_the_other():
    pictures = np.stack([GREY, GREY + 20])
    first = [Objects([[20, 30, 50, 55]], [label]) for label in (0, 1)]
    second = [Objects([[5, 30, 40, 55]], [label], [0.5]) for label in (1, 2)]
    beyond = Objects([[0, 0, 9, 9]], [0])
    drawn = draw_rows(pictures, (first, [*second, beyond]), NAMES, scale=2)
    expected = [
        draw_objects(pictures[k], row[k], NAMES, scale=2) for row in (first, second) for k in (0, 1)
    ]
    assert np.array_equal(drawn, np.stack(expected))


def test_the_surest_lies_on_top():
    boxes, labels = [[20, 30, 50, 55], [22, 32, 50, 55]], [0, 1]
    for scores, top in (([0.9, 0.2], 0), ([0.2, 0.9], 1)):
        assert drawn(boxes, labels, scores)[54, 40].tolist() == list(colour_of(top))


@pytest.mark.parametrize("scale", [1, 2])
def test_a_mask_is_a_tint_with_a_line_around_it(scale):
    mask = np.zeros((1, 60, 80), bool)
    mask[0, 35:50, 25:45] = True
    objects = Objects([[20, 30, 50, 55]], [1], None, mask)
    picture = draw_objects(GREY, objects, NAMES, scale=scale)
    plain = drawn([[20, 30, 50, 55]], [1], scale=scale)
    tint = np.rint(90 + 0.4 * (np.array(colour_of(1)) - 90))
    large = mask[0].repeat(scale, axis=0).repeat(scale, axis=1)
    assert np.array_equal(picture[~large], plain[~large])
    inside = picture[36 * scale : 49 * scale, 26 * scale : 44 * scale]
    assert (inside == tint).all()
    line = picture[35 * scale : 50 * scale, 25 * scale : 45 * scale].copy()
    line[scale:-scale, scale:-scale] = colour_of(1)
    assert (line == colour_of(1)).all()
    assert (GREY == 90).all()


def test_a_mask_that_ends_at_the_border_has_no_line_there():
    mask = np.zeros((1, 60, 80), bool)
    mask[0, :, 40:] = True
    picture = draw_objects(GREY, Objects([[50, 20, 70, 40]], [0], None, mask), NAMES)
    line = (picture == colour_of(0)).all(axis=-1)
    assert line[:, 40].all()
    assert not line[[0, 59], 41:].any() and not line[41:, 79].any()  # above is the name's plate


def test_the_surest_mask_lies_on_top():
    masks, boxes = np.zeros((2, 60, 80), bool), [[20, 30, 50, 55]] * 2
    masks[:, 40:50, 25:45] = True
    pictures = [
        draw_objects(GREY, Objects(boxes, [0, 1], scores, masks), NAMES)
        for scores in ([0.9, 0.2], [0.2, 0.9])
    ]
    for picture, top in zip(pictures, (0, 1), strict=True):
        assert picture[40, 30].tolist() == list(colour_of(top))


def test_a_class_has_its_colour():
    colours = np.array([colour_of(label) for label in range(10)], float)
    apart = np.abs(colours[:, None] - colours).sum(axis=-1) + 1000 * np.eye(10)
    assert apart.min() > 60


def test_a_box_without_area_has_no_frame_but_a_name():
    picture = drawn([[20, 30, 20, 55]], [1])
    assert (picture[30:] == 90).all() and (picture[:30] != 90).any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((GREY / 255, Objects([[0, 0, 1, 1]], [0]), NAMES), TypeError, "uint8, got float64"),
        ((GREY.tolist(), Objects([[0, 0, 1, 1]], [0]), NAMES), TypeError, "got list"),
        ((GREY[..., 0], Objects([[0, 0, 1, 1]], [0]), NAMES), ValueError, r"shape \(60, 80\)"),
        ((GREY[:0], Objects([[0, 0, 1, 1]], [0]), NAMES), ValueError, r"shape \(0, 80, 3\)"),
        ((GREY, [[0, 0, 1, 1]], NAMES), TypeError, "expected Objects, got list"),
        ((GREY, Objects([[0, 0, 1, 1]], [3]), NAMES), ValueError, "3 names, .* class 3"),
        (
            (GREY, Objects([[0, 0, 1, 1]], [0], None, np.ones((1, 60, 60), bool)), NAMES),
            ValueError,
            r"masks of \(60, 60\) pixels, but an image of \(60, 80\)",
        ),
    ],
)
def test_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        draw_objects(*arguments)


def test_refuses_a_scale_of_none():
    with pytest.raises(ValueError, match="scale must be at least 1, got 0"):
        drawn([[0, 0, 1, 1]], [0], scale=0)


# Masks


@pytest.mark.parametrize("scale", [1, 3])
def test_a_mask_colours_its_pixels(scale):
    mask = np.zeros((60, 80), int)
    mask[10:20, 30:50], mask[40:, :5] = 1, 3
    picture = draw_mask(GREY, mask, scale=scale)
    assert picture.dtype == np.uint8 and picture.shape == (60 * scale, 80 * scale, 3)
    large = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    assert (picture[large == 0] == 45).all()
    for label in (0, 2):
        expected = 0.25 * 90 + 0.75 * np.array(colour_of(label))
        np.testing.assert_allclose(picture[large == 1 + label] - expected, 0, atol=0.5)


def test_an_empty_mask_leaves_greys():
    picture = draw_mask(
        np.dstack([GREY[..., 0], GREY[..., 0] + 30, GREY[..., 0]]), GREY[..., 0] * 0
    )
    assert (picture == 50).all()
    assert (draw_mask(GREY[..., :1], np.zeros((60, 80), int)) == 45).all()


def test_names_stand_on_their_colours():
    narrow, wide = draw_names(NAMES, 45), draw_names(NAMES, 200)
    assert narrow.shape[1] == 45 and wide.shape[1] == 200
    assert narrow.shape[0] > 2 * wide.shape[0]  # a row each
    for picture in (narrow, wide):
        for label in range(3):
            assert (picture == colour_of(label)).all(axis=-1).sum() > 100


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((GREY / 255, np.zeros((60, 80), int)), TypeError, "image: expected .* uint8"),
        ((GREY, np.zeros((60, 80))), TypeError, "mask: expected integers, got float64"),
        ((GREY, np.zeros((60, 81), int)), ValueError, r"mask: .* \(60, 80\), got shape \(60, 81\)"),
        ((GREY, np.full((60, 80), -1)), ValueError, "classes ≥ 0 .* from -1 on"),
    ],
)
def test_refused_masks(arguments, error, message):
    with pytest.raises(error, match=message):
        draw_mask(*arguments)
    with pytest.raises(ValueError, match="scale must be at least 1, got 0"):
        draw_mask(GREY, np.zeros((60, 80), int), scale=0)
