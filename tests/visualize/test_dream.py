"""Octaves, guides, and inversion where a layer has kept everything, or known parts."""

import numpy as np
import pytest
from visualize.small_nets import Small, pictures

from tinydiff import Tensor, nn
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.visualize import (
    Unit,
    activation_maps,
    deep_dream,
    energy,
    invert,
    octave_sizes,
    resembling,
)
from tinydiff.visualize.dream import resized


class Mixing(nn.Module):
    """An orthogonal matrix over all numbers of a picture: nothing is lost"""

    def __init__(self, shape, rng):
        n = int(np.prod(shape))
        self.linear = nn.Linear(n, n)
        self.linear.weight.data = asarray(np.linalg.qr(rng.standard_normal((n, n)))[0], np.float32)

    def forward(self, x):
        return self.linear(x.reshape(len(x), -1))


def last(generator):
    *_, x = generator
    return to_numpy(x)


def test_octave_sizes():
    assert octave_sizes(224, 160, octaves=4, scale=1.4) == [(82, 58), (114, 82), (160, 114),
                                                            (224, 160)]  # fmt: skip
    assert octave_sizes(28, 28, octaves=1, scale=2.0) == [(28, 28)]
    with pytest.raises(ValueError, match=r"octaves=7, scale=2: the smallest would be \(0, 1\) of "):
        octave_sizes(28, 60, octaves=7, scale=2)
    with pytest.raises(ValueError, match="scale is 1, expected a number > 1"):
        octave_sizes(28, 28, octaves=2, scale=1)
    with pytest.raises(ValueError, match="octaves is 0, expected an int ≥ 1"):
        octave_sizes(28, 28, octaves=0, scale=2)


class Convolutions(nn.Module):
    """For pictures of any size; notes which it saw"""

    def __init__(self, channels=1):
        self.conv, self.relu, self.seen = nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), []

    def forward(self, x):
        self.seen.append(x.shape[1:3])
        return self.relu(self.conv(x))


def test_a_dream_goes_through_the_octaves():
    model = Convolutions(3)
    images = pictures(2, 20, 30)
    film = [to_numpy(x) for x in deep_dream(model, images, energy("relu"), octaves=3, scale=2,
                                            steps=2, jitter=3)]  # fmt: skip
    assert model.seen == [(5, 8)] * 2 + [(10, 15)] * 2 + [(20, 30)] * 2
    assert len(film) == 6 and all(x.shape == images.shape for x in film)
    change = film[-1] - to_float(images)
    assert 0 < np.abs(change).mean() < 6 * 0.012 * 2


def test_details_of_small_octaves_are_carried_on():
    """A network that asks for brightness: each step adds the rate, whatever the octave."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
    model[0].weight.data = asarray(np.ones((1, 1, 1, 1), np.float32))
    images = np.full((1, 16, 16, 1), 100, np.uint8)
    found = last(deep_dream(model, images, Unit("0"), octaves=3, steps=4, rate=0.01, jitter=2))
    np.testing.assert_allclose(found, to_float(images) + 12 * 0.01, atol=1e-5)


def test_energy_by_hand():
    model, x = Small(), pictures(3)
    answer = activation_maps(model, x, "body.3").astype(np.float64)
    found = energy("body.3")(model.eval(), Tensor(asarray(to_float(x)))).numpy()
    np.testing.assert_allclose(found, (answer**2).mean(axis=(1, 2, 3)) / 2, rtol=1e-5)


def test_resembling_by_hand():
    model, x, guide = Small(), pictures(3), pictures(2, seed=9)
    answer, known = (activation_maps(model, p, "body.3").reshape(-1, 8) for p in (x, guide))
    expected = (answer @ known.T).max(axis=1).reshape(3, -1).mean(axis=1)
    target = resembling(model.train(), "body.3", guide)
    found = target(model, Tensor(asarray(to_float(x)))).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert model.training


def test_inversion_of_what_has_kept_everything(rng):
    images = pictures(2, 6, 5)
    settings = {"steps": 300, "smooth": 1e-7, "bounded": 1e-7}
    found = last(invert(Mixing((6, 5, 3), rng), images, "linear", **settings))
    np.testing.assert_allclose(found, to_float(images), atol=0.02)


def test_inversion_brings_back_what_was_kept_and_smoothes_the_rest():
    """A 1×1 convolution that sees only the first of three colours."""
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False))
    model[0].weight.data = asarray(np.array([1, 0, 0], np.float32).reshape(1, 1, 3, 1))
    images = pictures(1, 8, 8)
    found = last(invert(model, images, "0", steps=300, smooth=1e-3, bounded=1e-3))
    np.testing.assert_allclose(found[..., 0], to_float(images)[..., 0], atol=0.05)
    assert np.abs(found[..., 1:]).max() < 0.1


def test_inversion_comes_near():
    model, images = Small().eval(), pictures(2)
    said = lambda x: activation_maps(model, x, "body.3").reshape(2, -1)
    aim, distances = said(images), []
    for x in invert(model, images, "body.3", steps=150, smooth=1e-6, bounded=1e-6):
        distances.append(((said(to_numpy(x)) - aim) ** 2).sum(axis=1) / (aim**2).sum(axis=1))
    assert (distances[-1] < 0.02).all() and (distances[0] > 0.3).all()


def test_resized():
    x = asarray(np.ones((1, 4, 6, 1), np.float32))
    assert resized(x, (4, 6)) is x and resized(x, (7, 3)).shape == (1, 7, 3, 1)


def test_refusals():
    model = Small()
    model.body[0].weight.data[...] = 0
    model.body[0].bias.data[...] = 0
    with pytest.raises(ValueError, match=r"layer 'body\.0' answers zeros to a picture"):
        invert(model, pictures(1), "body.0")
    with pytest.raises(ValueError, match="layer: Small has none named 'nose'; it has body"):
        invert(Small(), pictures(1), "nose")
    with pytest.raises(ValueError, match="smooth is 0, expected a number > 0"):
        invert(Small(), pictures(1), "body.0", smooth=0)
    with pytest.raises(ValueError, match="layer: Small has none named 'nose'"):
        resembling(Small(), "nose", pictures(1))
    with pytest.raises(ValueError, match="rate is 0, expected a number > 0"):
        deep_dream(Small(), pictures(1), energy("body.0"), rate=0)
