"""The decoders of a ladder: sizes, which network answers, gradients, refusals."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import LadderDecoders

SIZES = (2, 4, 4, 8, 8, 16, 16)


def tiny(sizes=SIZES, **settings):
    """Small decoders in which nothing is zero"""
    td.seed(0)
    model = LadderDecoders(1, sizes, **{"base_channels": 8, "norm_groups": 4, **settings})
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.data += asarray(0.2 * rng.standard_normal(parameter.shape), np.float32)
    return model


def noise(side, n=3, dtype=np.float32):
    return asarray(np.random.default_rng(1).standard_normal((n, side, side, 1)).astype(dtype))


@pytest.mark.parametrize("t", range(1, 7))
def test_every_layer_leads_to_its_size(t):
    model, many = tiny(), np.full(3, t)
    assert model(noise(SIZES[t - 1]), many).shape == (3, SIZES[t], SIZES[t], 1)
    small, large = noise(SIZES[t] // 2), noise(SIZES[t] // 2).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(model(small, many).numpy(), model(large, many).numpy())


def test_one_network_a_size_which_is_told_the_layer_and_the_label():
    model, z = tiny(num_classes=3), noise(4)
    assert len(model.nets) == 3
    y = model(z, np.array([1, 2, 2]), np.array([0, 0, 3])).numpy()
    assert np.abs(y - model(z, np.array([2, 2, 2]), np.array([0, 0, 3])).numpy())[0].max() > 1e-3
    assert np.abs(y - model(z, np.array([1, 2, 2]), np.array([0, 0, 1])).numpy())[2].max() > 1e-3
    for layer in (model.nets[1], model.nets[2]):  # of 8 and 16 pixels
        layer.head.weight.data[...] = 0
    np.testing.assert_array_equal(model(z, np.array([1, 2, 2]), np.array([0, 0, 3])).numpy(), y)


@pytest.mark.parametrize("t", [1, 2])
def test_gradients(t):
    model = tiny(sizes=(2, 4, 4)).astype(np.float64)
    z = to_numpy(noise(SIZES[t - 1], dtype=np.float64))
    td.gradcheck(lambda z: model(z, np.full(3, t)), z)


T = np.ones(3, int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tiny(sizes=(4,)), "sizes"),
        (lambda: tiny(sizes=(1, 3)), "all even"),
        (lambda: tiny()(noise(2), T - 1), r"t is \[0 0 0\], expected a layer in 1 … 6"),
        (lambda: tiny()(noise(2), T + 6), "expected a layer"),
        (lambda: tiny()(noise(2), T[:2]), "for each of 3"),
        (lambda: tiny()(noise(2), T * 1.0), "expected a layer"),
        (lambda: tiny()(noise(4), np.array([1, 2, 3])), r"lead to sizes \[4, 8\]"),
        (lambda: tiny()(noise(8), T), r"z has shape \(3, 8, 8, 1\), expected pictures of side 4"),
        (lambda: tiny()(noise(2), T, T), "no cond"),
        (lambda: tiny(num_classes=3)(noise(2), T), "cond is None, expected labels"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
