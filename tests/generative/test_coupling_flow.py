"""A flow is invertible, and knows how much it stretches: against the Jacobian itself."""

import numpy as np
import pytest
from losses import assert_gradient, bytes_in

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.generative import RealNVP, build
from tinydiff.generative.flow import Coupling, masks
from tinydiff.generative.networks import Dense

SHAPE = 2, 4, 1


def flow_of(shape, layers=6):
    out = (*shape[:2], 2 * shape[2])
    return RealNVP(shape, (Dense(shape, out, 8, 1) for _ in range(layers))).astype(np.float64)


def jacobian(function, x):
    """∂y/∂x of one picture, (size, size)"""
    x = Tensor(asarray(x), requires_grad=True)
    y = function(x).reshape(-1)
    rows = [td.grad(y[k], x, retain_graph=True) for k in range(y.size)]
    return np.stack([to_numpy(row).reshape(-1) for row in rows])


def test_masks_take_turns():
    found = masks((4, 4, 1))
    assert len(found) == 6
    for mask, opposite in zip(found[::2], found[1::2], strict=True):
        np.testing.assert_array_equal(mask + opposite, 1)
        assert mask.mean() == 0.5
    assert found[0][0, 0] != found[0][0, 1] != found[0][1, 1] != found[0][1, 0]
    assert len(masks((1, 2, 1))) == 4, "in the plane there are no stripes along x"


def test_a_coupling_layer_keeps_what_the_mask_says(rng):
    mask = masks(SHAPE)[0]
    layer = Coupling(mask, Dense(SHAPE, (2, 4, 2), 8, 1)).astype(np.float64)
    x = rng.standard_normal((3, *SHAPE))
    y = to_numpy(layer(Tensor(asarray(x)))[0].data)
    kept = np.broadcast_to(mask == 1, x.shape)
    np.testing.assert_array_equal(y[kept], x[kept])
    assert np.all(y[~kept] != x[~kept])


def test_there_and_back_is_nothing(rng):
    model = flow_of(SHAPE)
    x = Tensor(asarray(3 * rng.standard_normal((20, *SHAPE))))
    z, _ = model(x)
    assert np.abs(to_numpy((z - x).data)).max() > 0.5, "nothing is tested"
    np.testing.assert_allclose(to_numpy(model.inverse(z).data), to_numpy(x.data), atol=1e-6)


def test_there_and_back_in_float32(rng):
    shape = 8, 8, 1
    model = RealNVP(shape, (Dense(shape, (8, 8, 2), 32, 2) for _ in range(6)))
    x = Tensor(td.backend.randn((4, *shape), rng=rng))
    z, _ = model(x)
    np.testing.assert_allclose(to_numpy(model.inverse(z).data), to_numpy(x.data), atol=1e-3)


def test_log_determinant_is_that_of_the_jacobian(rng):
    model = flow_of(SHAPE)
    for _ in range(3):
        x = rng.standard_normal((1, *SHAPE))
        sign, expected = np.linalg.slogdet(jacobian(lambda x: model(x)[0], x))
        found = to_numpy(model(Tensor(asarray(x)))[1].data)
        assert sign == 1 and abs(expected) > 0.05
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_samples_come_as_often_as_the_density_says(rng):
    """A byte's probability is the density at its middle, but in the first and last of bins, which
    are wide as the logit sees them."""
    axis = np.arange(1, 255) / 127.5 - 1
    every = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2, 1)
    model = flow_of((1, 2, 1), 4)
    with td.no_grad():
        density = np.exp(to_numpy(model.log_density(asarray(every)).data))
    assert density.max() > 3 * density.mean()
    drawn = to_numpy(model.astype(np.float32).sample(20_000, rng=rng))
    drawn = drawn[(np.abs(drawn) < 1 - 1 / 255).all(axis=(1, 2, 3))]
    assert len(drawn) / 20_000 == pytest.approx(density.sum(), abs=0.005)
    for edge in ([[0.2], [-0.1]], [[-0.4], [0.5]]):
        expected = density[(every < [edge]).all(axis=(1, 2, 3))].sum()
        found = (drawn < [edge]).all(axis=(1, 2, 3)).sum() / 20_000
        assert found == pytest.approx(expected, abs=0.015)


def test_loss_and_likelihood_are_the_density():
    model, x = flow_of(SHAPE), bytes_in(SHAPE, 5)
    td.seed(3)
    bits = model.loss(x).item()
    td.seed(3)
    found = model.log_likelihood(x)
    assert found.shape == (5,) and found.dtype == np.float64
    assert bits == pytest.approx(-found.mean() / (8 * np.log(2)), rel=1e-12)


def test_on_average_the_likelihood_is_a_bound_for_the_bytes():
    """A byte's probability is the density's mean over its bin, and the mean of logarithms is less:
    by much at black and white, where the density changes most within a bin."""
    model, black = flow_of((1, 2, 1), 4), np.full((2000, 1, 2, 1), -1.0)
    assert model.likelihood == "bound"
    place = (np.arange(200) + 0.5) / 200 * 2 / 255 - 1 / 255
    within = np.stack(np.meshgrid(place, place), axis=-1).reshape(-1, 1, 2, 1)
    with td.no_grad():
        exact = np.log(np.exp(to_numpy(model.log_density(asarray(within - 1)).data)).mean())
    found = model.log_likelihood(black, rng=np.random.default_rng(0))
    assert exact - 3 < found.mean() < exact - 5 * found.std() / 2000**0.5


def test_samples_before_it_has_learned():
    """Noise goes through a sigmoid: half of it lies where the normal distribution's half does."""
    model = build.flow((8, 8, 1))
    drawn = to_numpy(model.sample(300, rng=np.random.default_rng(0)))
    assert drawn.shape == (300, 8, 8, 1)
    edge = 2 / (1 + np.exp(-3 * 0.67449)) - 1  # 0.67449: the upper quartile
    assert (np.abs(drawn) < edge).mean() == pytest.approx(0.5, abs=0.02)


def test_gradient_of_the_loss():
    model, x = flow_of(SHAPE, 2), bytes_in(SHAPE, 4)
    assert_gradient(model.parameters(), lambda: model.loss(x))
