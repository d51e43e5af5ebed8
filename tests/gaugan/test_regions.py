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


def flooded(one: np.ndarray) -> np.ndarray:
    """The regions of one map, filled from a first pixel each, as one would by hand"""
    found, count = np.zeros(one.shape, int), 0
    for start in np.argwhere(one):
        if found[tuple(start)]:
            continue
        count, edge = count + 1, [tuple(start)]
        while edge:
            i, j = edge.pop()
            if found[i, j] or one[i, j] != one[tuple(start)]:
                continue
            found[i, j] = count
            rows, columns = range(max(0, i - 1), i + 2), range(max(0, j - 1), j + 2)
            edge += [(a, b) for a in rows for b in columns if a < len(one) and b < one.shape[1]]
    return found


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("size", [(1, 9), (7, 1), (12, 17)])
def test_are_what_a_flood_fills(classes, size):
    for seed in range(10):
        maps = np.random.default_rng(seed).integers(0, classes, (4, *size), dtype=np.uint8)
        for one, found in zip(maps, regions_of(maps), strict=True):
            expected = flooded(one)
            assert found.max() == expected.max(), seed
            pairs = set(zip(found.ravel(), expected.ravel(), strict=True))
            here, there = zip(*pairs, strict=True)  # the same regions, by other numbers
            assert len(pairs) == len(set(here)) == len(set(there)), seed


def test_refusals():
    with pytest.raises(ValueError, match=r"expected integers \(N, H, W\), got int64 of \(5, 5\)"):
        regions_of(MAP)
    with pytest.raises(ValueError, match="got float64"):
        regions_of(MAP[None] / 2)
