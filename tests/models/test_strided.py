"""The cheap network: a linear layer of all maps, and what it makes of larger pictures."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import Strided


def tiny(**settings):
    td.seed(0)
    return Strided(2, 5, **{"widths": (6, 8), "hidden": 7, "last": 2, **settings})


def pictures(n=3, size=(8, 11), dtype=np.float32):
    return asarray(np.random.default_rng(1).standard_normal((n, *size, 2)).astype(dtype))


@pytest.mark.parametrize("size", [(8, 8), (8, 11), (28, 28), (29, 31)])
def test_one_logit_per_class_and_picture(size):
    model, x = tiny(), pictures(size=size)
    assert model(x).shape == (3, 5)
    assert model.features(x).shape == (3, 7)
    assert model.maps(td.Tensor(x)).shape == (3, size[0] // 4 - 1, size[1] // 4 - 1, 7)


def test_of_the_smallest_pictures_the_last_convolution_is_a_linear_layer():
    model, x = tiny().astype(np.float64), td.Tensor(pictures(dtype=np.float64, size=(8, 8)))
    maps = np.maximum(model.conv2(model.relu1(model.conv1(x))).numpy(), 0)
    hidden = maps.reshape(3, -1) @ to_numpy(model.conv3.weight.data).reshape(-1, 7)
    features = np.maximum(hidden + to_numpy(model.conv3.bias.data), 0)
    np.testing.assert_allclose(model.features(x).numpy(), features, atol=1e-12)


def test_a_larger_picture_is_judged_by_the_mean_over_its_places():
    model, x = tiny().astype(np.float64), pictures(1, (8, 20), np.float64)
    alone = model.features(x).numpy()
    maps = to_numpy(model.maps(td.Tensor(x)).data)
    assert maps.shape[1:3] == (1, 4)
    np.testing.assert_allclose(alone, maps.mean(axis=(1, 2)), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 7, 8, 2), (1, 8, 7, 2)])
def test_pictures_that_are_too_small(shape):
    with pytest.raises(ValueError, match=r"Strided: x has .*\(N, H, W, 2\) with H and W ≥ 8"):
        tiny()(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (8,)}, r"Strided: widths are \(8,\), expected two"),
        ({"last": 0}, "last is 0"),
        ({"hidden": 0}, "out_channels is 0"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)
