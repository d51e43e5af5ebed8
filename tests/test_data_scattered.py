"""Scattered digits: each is where its box and its mask say, and is the digit of its label."""

import numpy as np
import pytest

from tinydiff.data import NOTHING, Dataset, canvas, scattered_digits
from tinydiff.data.scattered import _resized


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """One for all tests here, so that digits are drawn once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "digits"))


def bars(count=20) -> Dataset:
    """Class 0 lies, class 1 stands: a bar of 16 by 4 white pixels in the middle."""
    images = np.zeros((count, 28, 28, 1), np.uint8)
    labels = np.arange(count) % 2
    images[labels == 0, 12:16, 6:22] = 255
    images[labels == 1, 6:22, 12:16] = 255
    return Dataset("bars", images, labels, ("dash", "pole"))


def test_is_what_it_says():
    data = scattered_digits(count=30)
    assert data.name == "scattered-digits-train"
    assert data.images.shape == (30, 64, 64, 1)
    assert data.classes == tuple("0123456789")
    assert set((data.labels != NOTHING).sum(axis=1)) == {1, 2, 3, 4, 5}
    again = scattered_digits(count=10)
    assert np.array_equal(again.images, data.images[:10])
    assert not np.array_equal(scattered_digits("test", 10).images, again.images)


def test_ink_is_in_the_masks_and_masks_are_in_the_boxes():
    for scene in scattered_digits(count=40, objects=(1, 8), side=96):
        ink, mask = scene.image[..., 0], scene.instances > 0
        assert (ink[mask] >= 128).all() and (ink[~mask] <= 128).all()  # 128 is half, rounded
        for mask, box in zip(scene.masks, scene.boxes, strict=True):
            rows, columns = np.nonzero(mask)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == tight


@pytest.mark.parametrize("side", [48, 64, 208])
def test_each_is_the_thing_of_its_label_at_many_sizes(side):
    lengths = []
    for scene in scattered_digits(count=40, source=bars(), side=side, objects=3):
        for label, (x0, y0, x1, y1) in zip(scene.labels, scene.boxes, strict=True):
            assert (y1 - y0 > x1 - x0) == (label == 1)
            lengths.append(max(y1 - y0, x1 - x0) / side)
    largest = 0.5 * 16 / 28
    assert 0.85 * largest < max(lengths) < 1.1 * largest
    assert min(lengths) < 0.9 * max(lengths)


def test_none_lies_in_another():
    for scene in scattered_digits(count=40, objects=8, side=80):
        for k, (x0, y0, x1, y1) in enumerate(scene.boxes.astype(int)):
            there = scene.instances[y0:y1, x0:x1]
            assert not np.isin(there, np.arange(1, k + 1)).any()  # none that was there before


def test_captions_count_them():
    data = scattered_digits(count=30, source=bars(), objects=(1, 3))
    said = {(tuple(np.bincount(scene.labels, minlength=2)), scene.caption) for scene in data}
    for counts, caption in said:
        names = {(1, 0): "a dash", (2, 0): "two dashs", (0, 2): "two poles", (0, 3): "three poles"}
        assert caption == names.get(counts, caption)
        assert ("pole" in caption) == (counts[1] > 0) and ("dash" in caption) == (counts[0] > 0)


def test_a_picture_of_its_own_size_stays_and_a_slope_stays_a_slope():
    image = np.add.outer(np.arange(6.0), 2 * np.arange(6.0))
    assert np.array_equal(_resized(image, 6), image)
    twice = _resized(image, 12)[2:-2, 2:-2]  # beyond the outer centres it is constant
    np.testing.assert_allclose(np.diff(twice, axis=0), 0.5)
    np.testing.assert_allclose(np.diff(twice, axis=1), 1.0)
    assert _resized(image, 3)[1, 1] == pytest.approx(image[2:4, 2:4].mean())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 47}, "side must be at least 48"),
        ({"source": Dataset("plain", bars().images)}, "source must have labels and grey"),
        (
            {"source": Dataset("rgb", bars().images.repeat(3, -1), bars().labels, ("a", "b"))},
            "source must have labels and grey",
        ),
        ({"side": 48, "objects": 8, "source": "squares"}, "objects: there is no room for 8"),
        ({"source": "black"}, "objects: there is no room"),
        ({"split": "valid", "source": bars()}, "split must be"),
    ],
)
def test_refuses(monkeypatch, settings, message):
    monkeypatch.setattr(canvas, "BEGINNINGS", 3)
    squares = Dataset("squares", np.full((2, 28, 28, 1), 255, np.uint8), np.arange(2), ("a", "b"))
    black = Dataset("black", np.zeros((2, 28, 28, 1), np.uint8), np.arange(2), ("a", "b"))
    source = settings.get("source")
    if isinstance(source, str):
        settings = {**settings, "source": {"squares": squares, "black": black}[source]}
    with pytest.raises(ValueError, match=message):
        scattered_digits(**{"count": 1, "source": bars(), **settings})
