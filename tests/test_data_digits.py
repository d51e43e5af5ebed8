"""The built-in digits: reproducible, balanced, varied, readable, and cached without risk."""

import sys
import time

import numpy as np
import pytest

from tinydiff.data import MNIST_LIKE, digits
from tinydiff.data.digits import BLOCK, _sample
from tinydiff.data.glyphs import CANVAS, FINE, GLYPHS, _distance_to, distance_fields

digits_module = sys.modules["tinydiff.data.digits"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def cache_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_is_what_it_says():
    data = digits(count=2 * BLOCK)
    assert data.images.shape == (2 * BLOCK, 28, 28, 1)
    assert data.classes == tuple("0123456789")
    assert np.bincount(data.labels).tolist() == [BLOCK // 5] * 10
    assert len(digits("test", 7)) == 7


def test_is_found_by_the_name_it_bears():
    data = MNIST_LIKE["digits"]("test", 7)
    assert data.name == "digits-test" and len(data) == 7


def test_image_i_does_not_depend_on_count():
    many, few = digits(count=BLOCK + 3), digits(count=5)
    assert np.array_equal(many.images[:5], few.images)
    assert np.array_equal(many.labels[:5], few.labels)
    more = digits(count=2 * BLOCK)
    assert np.array_equal(more.images[: BLOCK + 3], many.images)


def test_splits_seeds_and_blocks_are_different_streams():
    sets = [digits("train", 2 * BLOCK), digits("test", BLOCK), digits("train", BLOCK, seed=1)]
    images = np.concatenate([data.images for data in sets]).reshape(-1, 28 * 28)
    assert len(np.unique(images, axis=0)) == len(images)


def test_digits_lie_inside_the_picture_with_soft_edges():
    """As MNIST's: a seventh of the pixels are ink, a tenth are neither black nor white."""
    images = digits(count=2 * BLOCK).images
    assert 0.11 < (images > 127).mean() < 0.16
    assert 0.07 < ((images > 20) & (images < 235)).mean() < 0.13
    assert (images.max(axis=(1, 2, 3)) > 200).all()
    edges = np.concatenate([images[:, [0, -1]].ravel(), images[:, :, [0, -1]].ravel()])
    assert edges.mean() < 0.5


def test_need_more_than_a_template_yet_can_be_told_apart():
    """Class means decide too few of them, their nearest neighbours many more."""
    train, test = digits("train", 4 * BLOCK), digits("test", BLOCK)
    x = train.images.reshape(-1, 784) / np.float32(255)
    z = test.images.reshape(-1, 784) / np.float32(255)
    means = np.stack([x[train.labels == c].mean(axis=0) for c in range(10)])

    def accuracy(points, labels):
        squared = (points**2).sum(axis=1) - 2 * z @ points.T
        return (labels[squared.argmin(axis=1)] == test.labels).mean()

    assert 0.6 < accuracy(means, np.arange(10)) < 0.95
    assert accuracy(x, train.labels) > 0.92


def test_a_cached_set_is_the_drawn_one(own_cache, monkeypatch):
    monkeypatch.setattr(digits_module, "WORTH_CACHING", BLOCK)
    drawn = digits(count=BLOCK)
    assert len(cache_files(own_cache)) == 1
    monkeypatch.setattr(digits_module, "_draw_block", None)  # whoever draws now fails
    kept = digits(count=BLOCK)
    assert np.array_equal(drawn.images, kept.images)
    assert np.array_equal(drawn.labels, kept.labels)
    for other in ({"split": "test"}, {"seed": 1}, {"count": BLOCK + 1}):
        with pytest.raises(TypeError):
            digits(**{"count": BLOCK, **other})


@pytest.mark.parametrize("damage", ["cut", "flipped", "shifted", "empty", "text", "other arrays"])
def test_a_damaged_cache_file_is_rebuilt(own_cache, monkeypatch, damage):
    monkeypatch.setattr(digits_module, "WORTH_CACHING", BLOCK)
    drawn = digits(count=BLOCK)
    (path,) = cache_files(own_cache)
    good = path.read_bytes()
    if damage == "cut":
        path.write_bytes(good[: len(good) // 2])
    elif damage == "flipped":
        path.write_bytes(good[:50_000] + bytes([good[50_000] ^ 1]) + good[50_001:])
    elif damage == "shifted":  # by a bit in the length of the header, so that all reads well
        length = good.index(b"NUMPY") + 7
        path.write_bytes(good[:length] + bytes([good[length] - 2]) + good[length + 1 :])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_bytes(b"not an archive")
    else:
        np.savez(path, images=drawn.images[:5], labels=drawn.labels[:5])
    again = digits(count=BLOCK)
    assert np.array_equal(again.images, drawn.images)
    assert path.read_bytes() == good
    assert cache_files(own_cache) == [path]


def test_works_where_nothing_can_be_cached(own_cache, monkeypatch):
    monkeypatch.setattr(digits_module, "WORTH_CACHING", BLOCK)
    (own_cache / "tinydiff").write_text("a file where the folder should be")
    assert len(digits(count=BLOCK)) == BLOCK


def test_small_sets_leave_no_files(own_cache):
    digits(count=10)
    assert not cache_files(own_cache)


def test_sixty_thousand_take_seconds():
    times = []
    for _ in range(5):
        start = time.process_time()
        digits(count=BLOCK)
        times.append(time.process_time() - start)
    # One second for 60,000 on a quiet machine; the processor's time, so that a busy one passes.
    assert min(times) * 60_000 / BLOCK < 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "valid"}, "split must be 'train' or 'test', got 'valid'"),
        ({"count": 0}, "count must be at least 1"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        digits(**settings)


def test_says_what_to_do_where_pillow_has_no_font(monkeypatch):
    distance_fields.cache_clear()
    monkeypatch.setattr("PIL.features.check", lambda feature: False)
    with pytest.raises(RuntimeError, match=r"FreeType.*pip install"):
        digits(count=1)


def test_distances_are_those_of_the_nearest_sample():
    rng = np.random.default_rng(0)
    for share in (0.001, 0.1, 0.5, 0.99):
        target = rng.random((23, 23)) < share
        target[rng.integers(23), rng.integers(23)] = True
        rows, columns = np.nonzero(target)
        y, x = np.mgrid[:23, :23]
        expected = np.hypot(y[..., None] - rows, x[..., None] - columns).min(axis=-1)
        np.testing.assert_allclose(_distance_to(target), expected, rtol=1e-6)


def test_glyphs_are_ten_different_centred_and_of_one_height():
    fields = distance_fields()
    assert fields.shape == (10, CANVAS, CANVAS) == (len(GLYPHS), CANVAS, CANVAS)
    for field in fields:
        rows, columns = np.nonzero(field < 0)
        assert abs(np.ptp(rows) + 1 - 20 * FINE) <= 2 * FINE
        for inside in (rows, columns):
            assert abs(inside.min() + inside.max() - (CANVAS - 1)) <= 2
    assert len({field.tobytes() for field in fields}) == 10


def test_fields_are_read_between_their_samples():
    rng = np.random.default_rng(0)
    labels, (row, column) = np.arange(10), rng.integers(0, CANVAS - 2, (2, 10, 50))
    v, u = rng.random((2, 10, 50)).astype(np.float32)
    fields, glyph = distance_fields(), labels[:, None]
    above = (1 - u) * fields[glyph, row, column] + u * fields[glyph, row, column + 1]
    below = (1 - u) * fields[glyph, row + 1, column] + u * fields[glyph, row + 1, column + 1]
    read = _sample(labels, (column + u).astype(np.float32), (row + v).astype(np.float32))
    np.testing.assert_allclose(read, (1 - v) * above + v * below, atol=1e-3)
