"""Maps as pictures: the colours of known numbers, each map on its own scale."""

import numpy as np
import pytest

from tinydiff.visualize import as_cells, as_pictures


def of(values, **settings):
    """A 1×n map as a list of colours."""
    maps = np.asarray(values, np.float32)[None, None]
    return as_pictures(maps, percentile=100, **settings)[0, 0].tolist()


def test_positive_maps_glow():
    black, red, yellow, white = [0, 0, 0], [255, 0, 0], [255, 255, 0], [255, 255, 255]
    assert of([0, 1, 2, 3], signed=False) == [black, red, yellow, white]
    assert of([-3, 3], signed=False) == [black, white]


def test_signed_maps_are_blue_below_and_red_above():
    found = of([-2, 0, 2, 1], signed=True)
    assert found == [[0, 0, 255], [255] * 3, [255, 0, 0], [255, 128, 128]]


def test_three_numbers_a_pixel_are_colours_around_grey():
    assert of([[-1, 0, 1]], signed=True) == [[0, 128, 255]]
    assert of([[-1, 0.5, 1]], signed=False) == [[0, 128, 255]]


def test_each_map_has_its_own_scale():
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 0, 0] = 1e-6, 1e6
    found = as_pictures(maps, signed=True)
    assert np.array_equal(found[0], found[1])
    assert found[0, 0, 0].tolist() == [255, 0, 0] and (found[2] == 255).all()


def test_few_large_numbers_do_not_darken_the_rest():
    maps = np.ones((1, 20, 20), np.float32)
    maps[0, 0, 0] = 1000
    assert (as_pictures(maps, signed=False) == 255).all()
    assert as_pictures(maps, signed=False, percentile=100)[0, 1:].max() == 1


def test_over_a_picture():
    picture = np.full((1, 1, 2, 1), 100, np.uint8)
    maps = np.array([[[0.0, 1.0]]])
    found = as_pictures(maps, signed=False, over=picture)
    assert found[0, 0].tolist() == [[50] * 3, [178] * 3]


@pytest.mark.parametrize(
    ("maps", "settings", "error", "message"),
    [
        (np.zeros((1, 2, 2), int), {}, TypeError, "maps: expected a NumPy array of floats, got in"),
        ([[0.0]], {}, TypeError, "maps: expected a NumPy array of floats, got list"),
        (np.zeros((1, 2, 2, 2)), {}, ValueError, r"maps: expected .*, got shape \(1, 2, 2, 2\)"),
        (np.full((1, 2, 2), np.nan), {}, ValueError, "maps: they hold NaN or infinity"),
        (np.zeros((1, 2, 2)), {"percentile": 0}, ValueError, "percentile is 0"),
        (np.zeros((1, 2, 2)), {"over": np.zeros((1, 2, 2))}, ValueError, "over: expected uint8"),
        (np.zeros((1, 2, 2)), {"over": np.zeros((1, 2, 3, 1), np.uint8)}, ValueError, "over: exp"),
    ],
)
def test_refuses(maps, settings, error, message):
    with pytest.raises(error, match=message):
        as_pictures(maps, signed=True, **settings)


def test_cells_are_in_colour_and_of_one_size():
    grey = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)[None, ..., None]
    found = as_cells(grey, 7)
    assert found.shape == (1, 4, 7, 3) and found.dtype == np.uint8
    assert found[0, 0, :, 0].tolist() == [10, 10, 10, 20, 20, 30, 30]
    assert found[0, :, 0, 1].tolist() == [10, 10, 40, 40]
    colour = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert np.array_equal(as_cells(colour, 4), colour.repeat(2, axis=1).repeat(2, axis=2))
    assert np.array_equal(as_cells(colour, 2), colour)


@pytest.mark.parametrize(
    ("pictures", "side", "error", "message"),
    [
        (
            np.zeros((1, 2, 2, 3)),
            4,
            TypeError,
            "pictures: expected a NumPy array of uint8, got flo",
        ),
        (np.zeros((2, 2, 3), np.uint8), 4, ValueError, r"pictures: expected \(N, H, W, 1 or 3\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), 0, ValueError, "side is 0, expected an int ≥ 1"),
    ],
)
def test_cells_refuse(pictures, side, error, message):
    with pytest.raises(error, match=message):
        as_cells(pictures, side)
