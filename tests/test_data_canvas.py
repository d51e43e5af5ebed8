"""What is painted later covers what was there, and nothing is nearly hidden."""

import numpy as np
import pytest

from tinydiff.data.canvas import VISIBLE, Canvas


def block(height, width, opacity=1.0):
    return np.full((height, width), opacity), np.full((height, width, 3), 200, np.float32)


def blank(height=10, width=12):
    return Canvas(np.zeros((height, width, 3), np.float32))


def test_later_things_cover_earlier_ones():
    canvas = blank()
    assert canvas.place(*block(6, 6), 1, 1)
    assert canvas.place(*block(3, 3), 2, 5)
    expected = np.zeros((10, 12), int)
    expected[1:7, 1:7] = 1
    expected[2:5, 5:8] = 2
    assert np.array_equal(canvas.instances, expected)
    assert canvas.whole.tolist() == [36, 9]
    assert canvas.visible.tolist() == [30, 9]
    assert canvas.covered.tolist() == [6, 0]


def test_boxes_hug_what_is_seen():
    canvas = blank()
    canvas.place(*block(5, 5), 1, 1)
    canvas.place(*block(5, 1), 1, 5)  # hides the right column
    assert canvas.boxes().tolist() == [[1, 1, 5, 6], [5, 1, 6, 6]]


def test_a_pixel_belongs_to_what_covers_half_of_it_and_takes_that_share_of_its_colour():
    canvas = blank()
    opacity = np.array([[0.0, 0.25, 0.499, 0.5, 0.75, 1.0]])
    canvas.place(opacity, np.full((1, 6, 3), 200, np.float32), 0, 0)
    assert canvas.instances[0, :6].tolist() == [0, 0, 0, 1, 1, 1]
    assert canvas.pixels()[0, :6, 0].tolist() == [0, 50, 100, 100, 150, 200]


def test_what_is_blacker_than_black_is_black():
    ground = np.float32([-2.9, -0.6, -0.4, 254.6, 255.4, 256.2]).reshape(1, 6, 1)
    assert Canvas(ground).pixels().ravel().tolist() == [0, 0, 0, 255, 255, 255]


@pytest.mark.parametrize(("row", "column"), [(-2, 3), (7, 3), (3, -2), (3, 9), (-1, -1), (6, 8)])
def test_things_reach_over_the_border(row, column):
    canvas = blank()
    assert canvas.place(*block(5, 5), row, column) == (
        (min(row + 5, 10) - max(row, 0)) * (min(column + 5, 12) - max(column, 0)) >= VISIBLE * 25
    )
    everything = np.zeros((30, 30), int)
    everything[10 + row : 15 + row, 10 + column : 15 + column] = len(canvas.whole)
    assert np.array_equal(canvas.instances, everything[10:20, 10:22])
    assert canvas.whole.tolist() in ([], [25])


def test_what_would_hide_too_much_is_not_painted():
    canvas = blank()
    canvas.place(*block(2, 5), 0, 0)
    before = canvas.image.copy(), canvas.instances.copy()
    assert not canvas.place(*block(2, 2), 0, 0)  # 6 of 10 pixels would be left
    assert np.array_equal(canvas.image, before[0])
    assert np.array_equal(canvas.instances, before[1])
    assert canvas.place(*block(3, 1), 0, 0)  # 8 of 10
    assert not canvas.place(*block(2, 1), 0, 1)  # 6 of 10, both together
    assert canvas.visible.tolist() == [8, 3]


def test_near_names_what_shows_in_a_window():
    canvas = blank()
    canvas.place(*block(2, 2), 0, 0)
    canvas.place(*block(2, 2), 6, 6)
    assert canvas.near((3, 3), 1, 1) == [0]
    assert canvas.near((20, 20), -5, -5) == [0, 1]
    assert canvas.near((3, 3), 3, 3) == []
