"""Pictures moved by whole pixels, their border repeated."""

import numpy as np
import pytest

from tinydiff.data import Batches, Dataset, Scenes
from tinydiff.data.augment import shifted


def test_moves_each_picture_by_its_own_way(rng):
    """A shift is a window of the picture with its border repeated around it."""
    images = rng.integers(0, 256, (20, 5, 7, 3), np.uint8)
    by = rng.integers(-3, 4, (20, 2))
    found = shifted(images, by)
    assert found.dtype == np.uint8
    for image, (down, right), moved in zip(images, by, found, strict=True):
        wide = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="edge")
        assert np.array_equal(moved, wide[3 - down :, 3 - right :][:5, :7])


@pytest.mark.parametrize("by", [np.zeros((3, 2), int), np.zeros((2, 2)), np.zeros(2, int)])
def test_refuses(by):
    with pytest.raises(ValueError, match=r"by must be integers \(N, 2\)"):
        shifted(np.zeros((2, 4, 4, 1), np.uint8), by)


def dots(count=400):
    """A dot in the middle of each picture."""
    images = np.zeros((count, 9, 9, 1), np.uint8)
    images[:, 4, 4] = 255
    return Dataset("dots", images, np.arange(count) % 3, tuple("abc"))


def test_batches_shift_every_picture_its_own_way_at_every_step():
    batches = Batches(dots(), 400, shift=2, value_range=(0, 1))
    places = [np.argwhere(batches[step][0][..., 0])[:, 1:] for step in (0, 1)]
    for where in places:
        assert set(map(tuple, where)) == {(i, j) for i in range(2, 7) for j in range(2, 7)}
    assert not np.array_equal(*places)
    other = np.argwhere(Batches(dots(), 400, shift=2, seed=1)[0][0][..., 0] > 0)[:, 1:]
    assert not np.array_equal(places[0], other)


def test_labels_and_order_do_not_depend_on_shifts():
    plain, moved = (Batches(dots(), 50, seed=3, shift=shift)[5][1] for shift in (0, 2))
    assert np.array_equal(plain, moved)


def test_a_shifted_step_depends_on_seed_and_step_alone():
    settings = {"batch_size": 50, "seed": 3, "flip": True, "shift": 2}
    run = [Batches(dots(), **settings)[step] for step in range(12)]
    for step in (11, 0, 7):
        again = Batches(dots(), **settings)[step]
        assert all(np.array_equal(a, b) for a, b in zip(again, run[step], strict=True))


def test_refused_shifts():
    with pytest.raises(ValueError, match="shift must not be negative"):
        Batches(dots(), 4, shift=-1)
    scene = np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 1), np.int64)
    boxes = np.array([[[0, 0, 2, 2]]], np.float32)
    scenes = Scenes("one", *scene, boxes, ("a",))
    with pytest.raises(ValueError, match="shift is 1, but objects of one would leave it"):
        Batches(scenes, 1, shift=1)
