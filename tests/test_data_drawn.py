"""Files of drawn pictures: what is in them comes back, and nothing else passes for one."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import data

IMAGES = np.arange(48, dtype=np.uint8).reshape(3, 4, 4, 1)


def test_images_and_labels(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array([2, 0, 1], np.int32))
    images, labels = data.load_drawn(tmp_path / "a.npz")
    assert np.array_equal(images, IMAGES)
    assert labels.tolist() == [2, 0, 1] and labels.dtype == np.int64
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=np.full(3, -1))
    assert data.load_drawn(tmp_path / "b.npz")[1] is None


def test_tells_them_from_other_files(tmp_path):
    np.savez(tmp_path / "drawn.npz", images=IMAGES, labels=np.zeros(3))
    assert data.is_drawn(tmp_path / "drawn.npz")
    td.save(tmp_path / "checkpoint.npz", {"model": {"images": IMAGES}})
    (tmp_path / "text.npz").write_text("hello")
    for name in ("checkpoint.npz", "text.npz", "nothing.npz"):
        assert not data.is_drawn(tmp_path / name), name


OTHERS = {
    "floats": {"images": IMAGES / 255, "labels": np.zeros(3)},
    "too few labels": {"images": IMAGES, "labels": np.zeros(2)},
    "no labels": {"images": IMAGES},
    "no pictures": {"images": IMAGES[:0], "labels": np.zeros(0)},
    "one picture": {"images": IMAGES[0], "labels": np.zeros(4)},
    "objects": {"images": np.array([None] * 3), "labels": np.zeros(3)},
}


@pytest.mark.parametrize("arrays", OTHERS.values(), ids=OTHERS)
def test_refuses_other_arrays(arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=r"a\.npz is not a file that examples/sample\.py has"):
        data.load_drawn(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 cut"])
def test_refuses_other_files(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz is not a file"):
        data.load_drawn(tmp_path / "a.npz")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        data.load_drawn(tmp_path / "a.npz")
