"""A stream of batches is a pure function of (seed, step), and every batch is what it should be."""

import itertools
import time

import numpy as np
import pytest

from tinydiff.data import Batches, Dataset, ordered


def numbered(count: int, labelled: bool = True) -> Dataset:
    """Images that say which they are: image i holds i in its left column and 255 in its right."""
    images = np.zeros((count, 2, 3, 1), np.uint8)
    images[:, :, 0] = np.arange(count)[:, None, None]
    images[:, :, 2] = 255
    labels = np.arange(count) % 5 if labelled else None
    return Dataset("numbered", images, labels, tuple("abcde") if labelled else ())


def which(x: np.ndarray) -> list[int]:
    return (x[:, 0, 0, 0] * 255).round().astype(int).tolist()


def same(a, b) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def test_an_epoch_holds_every_image_once_and_labels_follow():
    batches = Batches(numbered(20), 4, value_range=(0, 1))
    seen = []
    for step in range(len(batches)):
        x, y = batches[step]
        assert x.dtype == np.float32
        assert x.shape == (4, 2, 3, 1)
        assert y.dtype == np.int64
        assert [i % 5 for i in which(x)] == y.tolist()
        seen += which(x)
    assert len(batches) == 5
    assert sorted(seen) == list(range(20))
    assert seen != list(range(20))


def test_epochs_and_seeds_are_shuffled_differently():
    data = numbered(50)
    first, second = (which(Batches(data, 50)[epoch][0]) for epoch in (0, 1))
    other = which(Batches(data, 50, seed=1)[0][0])
    assert first != second
    assert first != other
    assert second != other


def test_images_left_over_sit_out_only_until_the_next_shuffle():
    batches = Batches(numbered(11), 4)
    assert len(batches) == 2
    seen = {i for step in range(40) for i in which(batches[step][0] / 2 + 0.5)}
    assert seen == set(range(11))


@pytest.mark.parametrize("flip", [False, True])
def test_any_step_in_any_order_is_the_step_of_an_uninterrupted_run(flip):
    data = numbered(23)
    run = list(itertools.islice(Batches(data, 5, seed=3, flip=flip), 30))
    for step in np.random.default_rng(0).permutation(30):
        assert same(Batches(data, 5, seed=3, flip=flip)[step], run[step])
    jumping = Batches(data, 5, seed=3, flip=flip)
    assert all(same(jumping[step], run[step]) for step in (29, 0, 13, 12, 29))


def test_flips_about_half_of_the_images_left_to_right():
    data = numbered(200)
    x, y = Batches(data, 200, flip=True, value_range=(0, 1))[0]
    plain, labels = Batches(data, 200, value_range=(0, 1))[0]
    mirrored = x[:, 0, 0, 0] == 1
    assert 70 < mirrored.sum() < 130
    assert np.array_equal(x[mirrored], plain[mirrored, :, ::-1])
    assert np.array_equal(x[~mirrored], plain[~mirrored])
    assert np.array_equal(y, labels)
    again = Batches(data, 200, flip=True, value_range=(0, 1))[1][0][:, 0, 0, 0] == 1
    assert not np.array_equal(mirrored, again)


@pytest.mark.parametrize("value_range", [(-1, 1), (0, 1)])
def test_pads_with_the_lowest_value(value_range):
    x, _ = Batches(numbered(6), 6, pad=2, value_range=value_range)[0]
    plain, _ = Batches(numbered(6), 6, value_range=value_range)[0]
    assert x.shape == (6, 6, 7, 1)
    assert np.array_equal(x[:, 2:-2, 2:-2], plain)
    border = np.ones((6, 7), bool)
    border[2:-2, 2:-2] = False
    assert (x[:, border] == value_range[0]).all()
    assert plain.min() == value_range[0]
    assert plain.max() == value_range[1]


def test_a_batch_is_the_callers_to_change():
    data = numbered(6)
    before = data.images.copy(), data.labels.copy()
    for x, y in (*ordered(data, 6), Batches(data, 6, flip=True)[0]):
        x += 1
        y += 1
    assert same((data.images, data.labels), before)


def test_without_labels():
    x, y = Batches(numbered(6, labelled=False), 3)[0]
    assert x.shape == (3, 2, 3, 1)
    assert y is None
    assert all(y is None for _, y in ordered(numbered(6, labelled=False), 4))


def test_ordered_gives_everything_once_and_ends_with_a_short_batch():
    batches = list(ordered(numbered(10), 4, pad=1, value_range=(0, 1)))
    assert [x.shape for x, _ in batches] == [(4, 4, 5, 1), (4, 4, 5, 1), (2, 4, 5, 1)]
    assert [i for x, _ in batches for i in which(x[:, 1:, 1:])] == list(range(10))
    assert [y for _, ys in batches for y in ys] == [i % 5 for i in range(10)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 11}, "batch_size is 11, but numbered has only 10"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"pad": -1}, "pad must not be negative"),
        ({"seed": -1}, "seed must not be negative"),
        ({"value_range": (1, 0)}, "value_range must be"),
        ({"value_range": (0, float("nan"))}, "value_range must be"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        Batches(numbered(10), **{"batch_size": 2, **settings})


def test_ordered_refuses_at_once_not_when_first_iterated():
    with pytest.raises(ValueError, match="batch_size"):
        ordered(numbered(10), 0)


def test_the_stream_has_no_end_to_count_back_from():
    with pytest.raises(IndexError, match="step must not be negative"):
        Batches(numbered(10), 2)[-1]


def test_a_batch_is_fast():
    images = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28, 1), dtype=np.uint8)
    batches = Batches(Dataset("noise", images), 64, flip=True, pad=2)
    times = []
    for step in range(100):
        start = time.perf_counter()
        batches[step]
        times.append(time.perf_counter() - start)
    # 0.1 ms on a quiet machine; the fastest of many, so that a busy one passes too.
    assert min(times) < 1e-3
