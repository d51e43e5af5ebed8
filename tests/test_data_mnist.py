"""MNIST and Fashion-MNIST: the idx reader, and the real files where they are at hand."""

import functools
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from tinydiff.data import fashion_mnist, mnist
from tinydiff.data.mnist import read_idx

packed = functools.partial(gzip.compress, mtime=0)  # tests that run side by side share their names
REAL = Path(os.environ.get("TINYDIFF_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture
def real(monkeypatch, tmp_path):
    """The real files; never the network or the user's cache."""
    if not (REAL / "mnist").is_dir() or not (REAL / "fashion-mnist").is_dir():
        pytest.skip(f"no mnist and fashion-mnist in {REAL}: set TINYDIFF_DATA to run this test")
    monkeypatch.setenv("TINYDIFF_DATA", str(REAL))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_real_files(real, load, split, count):
    data = load(split)
    assert data.images.shape == (count, 28, 28, 1)
    assert len(data.classes) == 10
    per_class = np.bincount(data.labels)
    if load is fashion_mnist:
        assert per_class.tolist() == [count // 10] * 10
    else:  # the well-known mean of the training set, and its first labels
        assert abs(data.images.mean() / 255 - (0.1307 if split == "train" else 0.1325)) < 1e-4
        first = [5, 0, 4, 1, 9] if split == "train" else [7, 2, 1, 0, 4]
        assert data.labels[:5].tolist() == first


def test_real_digits_stand_upright(real):
    """A one is a column of ink, not a row: rows are the first axis."""
    data = mnist("test")
    ones = data.images[data.labels == 1][..., 0] / 255
    spread = [ones.sum(axis=axis).std(axis=1).mean() for axis in (1, 2)]
    assert spread[0] > 2 * spread[1]


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_unknown_split(load):
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'valid'"):
        load("valid")


def idx(array: np.ndarray) -> bytes:
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


def test_read_idx():
    array = np.arange(300 * 3, dtype=np.uint8).reshape(300, 3, 1)
    read = read_idx(packed(idx(array)))
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)
    read[0] = 0  # the caller's own, not a view of the file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"\x1f\x8b and then no gzip", "not a complete gzip"),
        (packed(idx(np.zeros((5, 2), np.uint8)))[:-9], "not a complete gzip"),
        (packed(idx(np.zeros((5, 2), np.uint8))[:-1]), r"shape \(5, 2\) holds 22 bytes"),
        (packed(idx(np.zeros((5, 2), np.uint8)) + b"x"), "got 23"),
        (packed(b"\0\0\x0d\1\0\0\0\0"), "not an idx file of bytes: it begins with 00 00 0d"),
        (packed(b"\0"), "not an idx file"),
        (packed(b"\0\0\x08\3\0\0"), "got 6"),
    ],
)
def test_read_idx_refuses(content, message):
    with pytest.raises(ValueError, match=message):
        read_idx(content)
