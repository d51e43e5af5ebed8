"""Regions: what hangs together, by hand; corners, background, and numbers from 1 on."""

import numpy as np
import pytest

from tinydiff.gaugan import regions_of

MAP = np.array(
    [
        [1, 1, 0, 2, 2],
        [0, 1, 0, 0, 1],
        [1, 0, 1, 0, 1],
        [0, 0, 0, 1, 0],
        [2, 1, 0, 0, 0],
    ]
)


def test_of_one_class_corner_to_corner():
    (found,) = regions_of(MAP[None])
    assert found.dtype == np.int64
    assert not found[MAP == 0].any(), "the background is one, its parts too"
    same = lambda *places: len({found[p] for p in places}) == 1
    assert same((0, 0), (1, 1), (2, 0), (2, 2), (3, 3), (2, 4), (1, 4))  # by their corners
    assert same((0, 3), (0, 4)) and not same((0, 3), (4, 0)), "of one class, apart"
    assert not same((4, 0), (4, 1)), "side by side, of two classes"
    assert sorted(set(found.ravel())) == [0, 1, 2, 3, 4]


def test_each_map_has_its_own_numbers():
    several = np.stack([MAP, np.zeros_like(MAP), np.ones_like(MAP), MAP.T])
    found = regions_of(several)
    assert [each.max() for each in found] == [4, 0, 1, 4]
    np.testing.assert_array_equal(found[0], regions_of(MAP[None])[0])


def test_a_long_way_round():
    """A spiral is one region however long it takes from end to end."""
    spiral = np.zeros((9, 9), int)
    spiral[0] = spiral[:, 8] = spiral[8] = spiral[2:, 0] = spiral[2, :7] = spiral[2:7, 6] = 1
    assert regions_of(spiral[None]).max() == 1


def test_refusals():
    with pytest.raises(ValueError, match=r"expected integers \(N, H, W\), got int64 of \(5, 5\)"):
        regions_of(MAP)
    with pytest.raises(ValueError, match="got float64"):
        regions_of(MAP[None] / 2)
