"""A CLIP as one thing: vectors of pictures and captions, classes."""

import math

import numpy as np
import pytest
from small_parts import SIDE, WORDS, D, matcher

import tinydiff as td
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.models.clip import COLDEST
from tinydiff.training import checkpoint
from tinydiff.unclip import Matcher
from tinydiff.unclip.matcher import BATCH, on_sphere

CAPTIONS = ["a red circle", "a blue square", "a red square", "two", "blue circle a red"]


def pictures(n=5):
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3)).astype(np.uint8)


def test_vectors_are_those_of_the_towers_times_the_root_of_their_size():
    made, x = matcher(), pictures()
    got = made.of_images(x), made.of_captions(CAPTIONS)
    with td.no_grad():
        image = to_numpy(made.model.image(asarray(to_float(x))).data)
        text = to_numpy(made.model.text(made.tokenizer.encode(CAPTIONS)).data)
    for z, tower in zip(got, (image, text), strict=True):
        assert z.shape == (5, D) and z.dtype == np.float32
        np.testing.assert_allclose(z, tower * math.sqrt(D), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose((z**2).mean(axis=1), 1, rtol=1e-4)


def test_more_than_a_batch():
    made, x = matcher(), pictures(3)
    many = np.tile(x, (BATCH, 1, 1, 1))[: BATCH + 2]
    z = made.of_images(many)
    assert z.shape == (BATCH + 2, D)
    np.testing.assert_allclose(z[-2:], z[BATCH % 3 : BATCH % 3 + 2], atol=1e-5)


@pytest.mark.parametrize("cold", [False, True])
def test_classes_are_where_the_mean_of_their_captions_points(cold):
    made, x = matcher(), pictures()
    classes = [CAPTIONS[:1], CAPTIONS[1:3], CAPTIONS[3:]]
    if cold:
        made.model.log_scale.data[...] = 6  # colder than the network ever is
    z = made.of_images(x)
    temperature = COLDEST if cold else math.exp(-float(made.model.log_scale.data))
    expected = np.empty((5, 3))
    for i in range(5):
        for k, captions in enumerate(classes):
            mean = sum(made.of_captions([c])[0] for c in captions)
            cosine = z[i] @ mean / np.linalg.norm(z[i]) / np.linalg.norm(mean)
            expected[i, k] = math.exp(cosine / temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(made.classify(x, classes), expected, rtol=1e-4, atol=1e-30)


def test_comes_back_from_a_checkpoint(tmp_path):
    made = matcher()
    state = {"settings": {**made.settings, "steps": 2}, "step": 2, "ema": None}
    checkpoint.save(tmp_path / "c.npz", {**state, "model": made.model.state_dict()})
    again = Matcher.load(tmp_path / "c.npz")
    np.testing.assert_array_equal(again.of_captions(CAPTIONS), made.of_captions(CAPTIONS))
    checkpoint.save(tmp_path / "c.npz", {**state, "model": made.model.state_dict(), "step": 1})
    with pytest.raises(td.training.HalfTrained, match="1 of 2 steps"):
        Matcher.load(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: Matcher({"words": WORDS}), "settings: they lack image, clip"),
        (lambda: matcher().of_captions(["a red sircle"]), "'sircle' .* near it: circle"),
        (lambda: matcher().of_images(pictures()[:, :4]), "expected sides of 8|H and W"),
        (lambda: matcher().of_images(to_float(pictures()) * 3), r"expected floats in \[−1, 1\]"),
        (lambda: matcher().classify(pictures(), [["a"], []]), "captions: expected at least one"),
    ],
)
def test_refuses(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


def test_on_sphere():
    z = on_sphere(np.array([[3.0, 4.0], [0.1, 0.0]]))
    np.testing.assert_allclose(z, np.array([[0.6, 0.8], [1, 0]]) * math.sqrt(2))
