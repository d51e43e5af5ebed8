"""The plain stack to look inside: its layers' names, its equation, weights, refusals."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import VGG


def tiny(**settings):
    td.seed(0)
    return VGG(2, 5, **{"widths": (6, 8), "dropout": 0.0, **settings})


def pictures(n=3, size=(8, 11), dtype=np.float32):
    return asarray(np.random.default_rng(1).standard_normal((n, *size, 2)).astype(dtype))


@pytest.mark.parametrize("size", [(4, 4), (8, 11), (28, 28), (29, 31)])
def test_one_logit_per_class_and_picture_of_any_size(size):
    model, x = tiny(), pictures(size=size)
    assert model(x).shape == (3, 5)
    assert model.features(x).shape == (3, 8)
    assert model.maps(td.Tensor(x)).shape == (3, size[0] // 4, size[1] // 4, 8)


def test_layers_are_found_by_their_path():
    names = [name for name, _ in tiny().named_modules()]
    for stage in (0, 1):
        for layer in ("conv1", "relu1", "conv2", "relu2", "pool"):
            assert f"stages.{stage}.{layer}" in names


def test_is_what_its_equation_says():
    """Convolution by sums, ReLU and maxima, pixel by pixel."""
    model = tiny(widths=(3,)).astype(np.float64)
    x = to_numpy(pictures(1, (5, 4), np.float64))
    stage = model.stages[0]

    def conv(x, layer):
        weight, bias = layer.weight.numpy(), layer.bias.numpy()
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        return np.einsum("nhwcab,abco->nhwo", windows, weight) + bias

    y = np.maximum(conv(np.maximum(conv(x, stage.conv1), 0), stage.conv2), 0)
    y = y[:, :4].reshape(1, 2, 2, 2, 2, 3).max(axis=(2, 4)).mean(axis=(1, 2))
    np.testing.assert_allclose(model.features(asarray(x)).numpy(), y, atol=1e-12)
    logits = y @ model.head.weight.numpy() + model.head.bias.numpy()
    np.testing.assert_allclose(model(asarray(x)).numpy(), logits, atol=1e-12)


def test_the_signal_keeps_its_size():
    """He's weights: what a stage answers is about as large as what it is given."""
    td.seed(0)
    model = VGG(32, 5, widths=(64, 64, 64))
    x = np.random.default_rng(0).standard_normal((4, 16, 16, 32)).astype(np.float32)
    x = td.Tensor(asarray(x))
    for stage in model.stages:
        before = float((x.numpy() ** 2).mean())
        x = stage.relu2(stage.conv2(stage.relu1(stage.conv1(x))))
        assert 0.3 < float((x.numpy() ** 2).mean()) / before < 3
        x = stage.pool(x)


@pytest.mark.parametrize("shape", [(1, 3, 8, 2), (1, 8, 3, 2)])
def test_pictures_that_are_too_small(shape):
    with pytest.raises(ValueError, match=r"VGG: x has .*\(N, H, W, 2\) with H and W ≥ 4"):
        tiny()(np.zeros(shape, np.float32))


def test_refused_settings():
    with pytest.raises(ValueError, match="VGG: widths are empty"):
        tiny(widths=())
    with pytest.raises(ValueError, match="out_channels is 0"):
        tiny(widths=(8, 0))
