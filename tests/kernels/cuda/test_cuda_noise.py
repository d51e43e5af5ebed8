"""Philox against its authors' vectors, and what is made of it."""

import numpy as np
import pytest
from cuda_cases import device

import tinydiff as td
from tinydiff import backend, ops
from tinydiff.kernels import cuda
from tinydiff.kernels.cuda import noise
from tinydiff.recompute import checkpoint
from tinydiff.tensor import Tensor

KNOWN = [  # counter, key, words: kat_vectors of Random123, philox4x32 10
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter, key, words):
    joined = [low + (high << 32) for low, high in (counter[:2], counter[2:], key)]
    got = noise.words(4, joined[2], *joined[:2])
    assert [f"{w:08x}" for w in got.get()] == words.split()


def numbers(count: int, key: int) -> np.ndarray:
    """The first of a key's numbers, put together on the host from Philox's words"""
    words = noise.words(count, key).get().reshape(-1, 256, 4)
    return (words.swapaxes(1, 2).reshape(-1) >> 8) / 2**24


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform(dtype):
    expected = numbers(4096, 5)
    for shape, first in (((3, 7, 11), 0), ((1024,), 1024), ((1,), 700), ((50, 60), 1023)):
        got = noise.uniform(shape, 5, dtype, first)
        assert got.dtype == dtype and got.shape == shape
        np.testing.assert_array_equal(got.get().ravel(), expected[first : first + got.size])
    assert (noise.uniform((1024,), 6).get() != expected[:1024]).mean() > 0.99


def test_numbers_are_even_and_independent():
    u = noise.uniform((1 << 16,), 7).get()
    assert u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, 64, (0, 1))[0]
    assert ((counts - 1024) ** 2 / 1024).sum() < 63 + 5 * np.sqrt(2 * 63)
    for lag in (1, 4, 256, 1024):
        assert abs(np.corrcoef(u[lag:], u[:-lag])[0, 1]) < 5 / 256


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_is_its_own_gradient(dtype, rng):
    x = device([rng.standard_normal((5, 7, 9))], dtype)[0]
    p, key = 0.3, 1 << 63 | 12345
    y = noise.dropout(x, p, key)
    kept = numbers(1024, key)[: x.size].reshape(x.shape) >= p
    np.testing.assert_allclose(y.get(), np.where(kept, x.get() / (1 - p), 0), rtol=1e-6)
    assert y.dtype == dtype

    x = Tensor(x, requires_grad=True)
    td.seed(3)
    y = ops.dropout(x, p=p)
    y.backward(device([np.ones(x.shape)], dtype)[0])
    kept = y.numpy() != 0
    np.testing.assert_allclose(x.grad.get(), kept / (1 - p), rtol=1e-6)
    assert 0.6 < kept.mean() < 0.8


def test_seed_and_generator_decide():
    x = Tensor(device([np.ones((40, 50))], np.float32)[0])
    masks = []
    for n in (1, 2, 1):
        td.seed(n)
        masks.append(ops.dropout(x).numpy())
    np.testing.assert_array_equal(masks[0], masks[2])
    assert (masks[0] != masks[1]).any()
    one, same = (ops.dropout(x, rng=np.random.default_rng(5)).numpy() for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert (ops.dropout(x).numpy() != ops.dropout(x).numpy()).any()


def test_recomputation_drops_the_same():
    def gradient(call):
        td.seed(9)
        x = Tensor(device([np.linspace(1, 2, 600).reshape(20, 30)], np.float32)[0], True)
        y = call(lambda h: ops.dropout(h * h, p=0.4), ops.dropout(x, p=0.2))
        ops.dropout(y, p=0.5).backward(device([np.ones((20, 30))], np.float32)[0])
        return x.grad.get(), backend.rng.bit_generator.state

    got, after = gradient(checkpoint)
    wanted, after_plainly = gradient(lambda fn, x: fn(x))
    np.testing.assert_array_equal(got, wanted)
    assert (wanted != 0).any() and (wanted == 0).any() and after == after_plainly


@pytest.mark.parametrize("cut", [0, 1, 3, 8])
def test_parts_of_a_batch_drop_what_the_batch_does(cut):
    x = device([np.ones((16, 3, 37))], np.float32)[0]  # two rows for each of eight images
    td.seed(4)
    whole = cuda.dropout(x.shape, x.dtype, 0.5, None)(x).get()
    for low, high in ((0, cut), (cut, 8)):
        if low < high:
            td.seed(4)
            with backend.seeing_part(8, low, high):
                part = x[2 * low : 2 * high]
                got = cuda.dropout(part.shape, part.dtype, 0.5, None)(part).get()
            np.testing.assert_array_equal(got, whole[2 * low : 2 * high])


def test_nothing_to_drop():
    x = device([np.ones((0, 3))], np.float32)[0]
    assert cuda.dropout(x.shape, x.dtype, 0.5, None)(x).shape == (0, 3)
    y = device([np.ones(4)], np.float16)[0]
    assert cuda.dropout(y.shape, y.dtype, 0.5, None)(y).dtype == np.float16
