"""Captions, vectors and maps as conditions: dropped, left out, guided to, refused, as labels are.

Labels are in test_gaussian.py and test_guidance.py.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.data import NO_CAPTION, PAD
from tinydiff.diffusion import (
    GaussianDiffusion,
    NoiseSchedule,
    classifier_free,
    denoiser,
    null_condition,
)
from tinydiff.models import TextEncoder, UNet

EPS = GaussianDiffusion(NoiseSchedule.cosine(100), "eps")
CAPTIONS, T = np.array([[2, 3, 0], [4, 2, 3], [3, 0, 0]]), np.array([7, 50, 99])
NONE = [NO_CAPTION, PAD, PAD]


class Net:
    """x times the number that the tokens' digits make; keeps what it was told."""

    text = SimpleNamespace(vocabulary=5, no_caption=np.array(NONE))

    def __init__(self):
        self.told = []

    def __call__(self, x, t, cond):
        self.told.append(to_numpy(cond))
        factor = self.told[-1] @ [100, 10, 1]
        return x * asarray(factor.reshape(-1, 1, 1, 1).astype(float))


def pictures(n=3):
    return asarray(np.random.default_rng(0).standard_normal((n, 2, 2, 1)))


def test_the_null_condition_is_that_of_the_encoder():
    encoder = TextEncoder(5, 3, width=4, depth=1, heads=1)
    assert null_condition(SimpleNamespace(text=encoder)).tolist() == NONE
    assert null_condition(SimpleNamespace(num_classes=3)) == 3
    assert null_condition(SimpleNamespace(num_classes=None, text=None)) is None


def test_a_tenth_of_the_captions_is_dropped_as_a_whole():
    net, captions = Net(), np.tile(CAPTIONS, (2000, 1))
    EPS.training_loss(net, pictures(6000), cond=captions, rng=np.random.default_rng(0))
    (told,) = net.told
    dropped = (told == NONE).all(axis=1)
    np.testing.assert_array_equal(told[~dropped], captions[~dropped])
    assert abs(dropped.sum() - 600) < 4 * np.sqrt(6000 * 0.1 * 0.9)


def test_denoiser_without_captions_says_so():
    net = Net()
    denoiser(net, EPS)(pictures(), T)
    assert net.told[0].tolist() == [NONE] * 3
    denoiser(net, EPS, CAPTIONS)(pictures(), T)
    np.testing.assert_array_equal(net.told[1], CAPTIONS)


@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_guidance_is_the_line_through_both_predictions(scale):
    x = pictures()
    factors = np.array([230, 423, 300])
    expected = to_numpy(x) * (100 + scale * (factors - 100)).reshape(-1, 1, 1, 1)
    got = classifier_free(Net(), EPS, CAPTIONS, scale=scale)(x, T)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-10)


def test_a_network_learns_what_captions_say():
    """One word is white, the other black: a few steps tell them apart, in all of it."""
    td.seed(0)
    text = {"vocabulary": 4, "length": 2, "width": 8, "depth": 1, "heads": 2}
    settings = {"base_channels": 8, "channel_mults": (1,), "num_res_blocks": 1, "norm_groups": 4}
    model = UNet(1, text=text, attention_levels=(0,), **settings)
    optimiser = td.optim.Adam(model.parameters(), lr=2e-2)
    captions = np.array([[2, 0], [3, 0]] * 8)
    x0 = np.ones((16, 2, 2, 1), np.float32) * np.array([1, -1] * 8).reshape(-1, 1, 1, 1)
    diffusion = GaussianDiffusion(NoiseSchedule.cosine(50), "x0")
    for _ in range(25):
        optimiser.zero_grad()
        diffusion.training_loss(model, x0.astype(np.float32), cond=captions, drop=0).backward()
        optimiser.step()
    noise, last = randn((2, 2, 2, 1)), np.array([49, 49])
    with td.no_grad():
        said = model(Tensor(noise), last, np.array([[2, 0], [3, 0]])).numpy().mean(axis=(1, 2, 3))
    assert said[0] > 0.5 and said[1] < -0.5, said


@pytest.mark.parametrize(
    ("cond", "error", "message"),
    [
        (CAPTIONS[0], ValueError, r"cond: expected tokens \(N, 3\), got shape \(3,\)"),
        (CAPTIONS[:, :2], ValueError, r"cond: expected tokens \(N, 3\), got shape \(3, 2\)"),
        (CAPTIONS + 1, ValueError, "cond: expected tokens 0 … 4, got 1 … 5"),
        (CAPTIONS - 1, ValueError, "cond: expected tokens 0 … 4, got -1 … 3"),
        (CAPTIONS + 0.5, TypeError, "cond: expected integers, got float64"),
        (CAPTIONS[:2], ValueError, "cond: expected one for each picture, got 2 for 3"),
    ],
)
def test_refuses_tokens(cond, error, message):
    for ask in (
        lambda: denoiser(Net(), EPS, cond)(pictures(), T),
        lambda: classifier_free(Net(), EPS, cond, scale=2)(pictures(), T),
        lambda: EPS.training_loss(Net(), pictures(), cond=cond),
    ):
        with pytest.raises(error, match=message):
            ask()


def test_refuses_to_learn_without_captions():
    with pytest.raises(
        ValueError, match=r"learns from labels, captions, vectors or maps; give \[1 0 0\]"
    ):
        EPS.training_loss(Net(), pictures())


# Vectors


class VectorNet:
    """x times the sum of what it is told; keeps that."""

    embedding = 2

    def __init__(self):
        self.told = []

    def __call__(self, x, t, cond):
        self.told.append(to_numpy(cond))
        return x * asarray(self.told[-1].sum(axis=1).reshape(-1, 1, 1, 1).astype(float))


VECTORS = np.array([[0.5, 1.0], [2.0, -1.0], [0.1, 0.2]])


def test_zeros_are_the_null_condition_of_vectors():
    assert null_condition(VectorNet()).tolist() == [0, 0]
    net = VectorNet()
    denoiser(net, EPS)(pictures(), T)
    denoiser(net, EPS, VECTORS)(pictures(), T)
    assert not net.told[0].any() and net.told[0].shape == (3, 2)
    np.testing.assert_array_equal(net.told[1], VECTORS.astype(np.float32))


def test_a_tenth_of_the_vectors_is_dropped_as_a_whole():
    net, vectors = VectorNet(), np.tile(VECTORS, (2000, 1))
    EPS.training_loss(net, pictures(6000), cond=vectors, rng=np.random.default_rng(0))
    (told,) = net.told
    dropped = ~told.any(axis=1)
    np.testing.assert_array_equal(told[~dropped], vectors[~dropped].astype(np.float32))
    assert abs(dropped.sum() - 600) < 4 * np.sqrt(6000 * 0.1 * 0.9)


@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_guidance_to_vectors(scale):
    x = pictures()
    expected = to_numpy(x) * (scale * VECTORS.sum(axis=1)).reshape(-1, 1, 1, 1)
    got = classifier_free(VectorNet(), EPS, VECTORS, scale=scale)(x, T)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("cond", "error", "message"),
    [
        (VECTORS[0], ValueError, r"cond: expected vectors \(N, 2\), got shape \(2,\)"),
        (VECTORS[:, :1], ValueError, r"cond: expected vectors \(N, 2\), got shape \(3, 1\)"),
        (VECTORS.astype(int), TypeError, "cond: expected floats, got int64"),
        (VECTORS * np.inf, ValueError, "cond: expected finite numbers"),
        (VECTORS[:2], ValueError, "cond: expected one for each picture, got 2 for 3"),
        (None, ValueError, "captions, vectors or maps; give zeros, the null condition"),
    ],
)
def test_refuses_vectors(cond, error, message):
    with pytest.raises(error, match=message):
        EPS.training_loss(VectorNet(), pictures(), cond=cond)


# Maps


MAPS = np.arange(24).reshape(3, 2, 4) % 6


class MapNet:
    """x times the class of each pixel; keeps what it was told."""

    map_classes = 6

    def __init__(self):
        self.told = []

    def __call__(self, x, t, cond):
        self.told.append(to_numpy(cond))
        return x * asarray(self.told[-1][..., None].astype(float))


def wide(n=3):
    return asarray(np.random.default_rng(0).standard_normal((n, 2, 4, 1)))


def test_a_tenth_of_the_maps_is_dropped_as_a_whole():
    net, maps = MapNet(), np.tile(MAPS, (2000, 1, 1))
    EPS.training_loss(net, wide(6000), cond=maps, rng=np.random.default_rng(0))
    (told,) = net.told
    dropped = (told == 6).all(axis=(1, 2))
    np.testing.assert_array_equal(told[~dropped], maps[~dropped])
    assert abs(dropped.sum() - 600) < 4 * np.sqrt(6000 * 0.1 * 0.9)


def test_denoiser_without_maps_says_so():
    net = MapNet()
    denoiser(net, EPS)(wide(), T)
    assert net.told[0].shape == (3, 2, 4) and (net.told[0] == 6).all()


@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_guidance_to_a_map_is_the_line_through_both_predictions(scale):
    x = wide()
    expected = to_numpy(x) * (6 + scale * (MAPS[..., None] - 6))
    got = classifier_free(MapNet(), EPS, MAPS, scale=scale)(x, T)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("cond", "error", "message"),
    [
        (MAPS[0], ValueError, r"cond: expected maps \(N, H, W\), got shape \(2, 4\)"),
        (MAPS + 2, ValueError, "cond: expected classes 0 … 5, or 6 for none, got 2 … 7"),
        (MAPS + 0.5, TypeError, "cond: expected integers, got float64"),
        (MAPS[:2], ValueError, "cond: expected one for each picture, got 2 for 3"),
    ],
)
def test_refuses_maps(cond, error, message):
    for ask in (
        lambda: denoiser(MapNet(), EPS, cond)(wide(), T),
        lambda: classifier_free(MapNet(), EPS, cond, scale=2)(wide(), T),
        lambda: EPS.training_loss(MapNet(), wide(), cond=cond),
    ):
        with pytest.raises(error, match=message):
            ask()
