"""Langevin's walk on an energy whose distribution is known, and the energy that is learned."""

import math

import numpy as np
import pytest
from losses import assert_gradient, bytes_in

import tinydiff as td
from tinydiff import Tensor, nn
from tinydiff.backend import asarray, to_numpy
from tinydiff.generative import EnergyModel
from tinydiff.generative.energy import langevin
from tinydiff.generative.networks import Dense

SHAPE = 1, 2, 1


class Bowl(nn.Module):
    """E(x) = Σ (x − m)²/2v: the energy of N(m, v)"""

    def __init__(self, mean, variance):
        self.mean, self.variance = nn.Parameter(np.float32(mean)), np.float32(variance)

    def forward(self, x):
        away = x - self.mean
        return (away * away / (2 * self.variance)).reshape(len(x), -1).sum(axis=1).reshape(-1, 1)


def model_of(energy, *, training=5, drawing=30, penalty=0.1, step=1e-3, noise=0.0447214):
    walk = dict(step=step, noise=noise)
    return EnergyModel(SHAPE, energy, walk, training, drawing, penalty)


@pytest.mark.parametrize("step", [1e-3, 6e-3])
def test_langevin_has_the_moments_of_a_gaussian(step, rng):
    """x' − m = (1 − λ/v)(x − m) + noise·ξ has the variance noise²/(1 − (1 − λ/v)²): about v."""
    mean, variance, noise = 0.2, 0.01, math.sqrt(2 * step)
    x = asarray(np.zeros((20_000, 1), np.float32))
    *_, x = langevin(Bowl(mean, variance), x, step=step, noise=noise, steps=60, rng=rng)
    x = to_numpy(x)
    expected = noise**2 / (1 - (1 - step / variance) ** 2)
    assert x.mean() == pytest.approx(mean, abs=5 * np.sqrt(expected / 20_000))
    assert x.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / 20_000))
    assert expected == pytest.approx(variance, rel=step / variance)


def test_without_noise_it_descends():
    start = asarray(np.zeros((3, 2), np.float32))
    (x,) = langevin(Bowl(0.5, 1.0), start, step=0.1, noise=0.0, steps=1)
    np.testing.assert_allclose(to_numpy(x), 0.05)


def test_in_the_plane_the_likelihood_is_exact_at_any_temperature():
    """All 256² probabilities sum to 1; those of a bowl are a Gaussian's, of variance v·T."""
    model = model_of(Bowl(0.1, 0.02), noise=math.sqrt(2 * 1e-3 * 1.5))
    assert model.likelihood == "exact"
    axis = np.arange(256) / 127.5 - 1
    every = np.float32(np.stack(np.meshgrid(axis, axis), axis=-1)).reshape(-1, *SHAPE)
    found = model.log_likelihood(every)
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-9)
    away = ((every - np.float32(0.1)) ** 2).reshape(-1, 2).sum(axis=1)
    density = -away / (2 * 0.03) - np.log(2 * np.pi * 0.03) + 2 * np.log(2 / 255)
    np.testing.assert_allclose(found, density, atol=2e-4, rtol=1e-5)


def test_pictures_have_no_likelihood():
    shape = 2, 2, 1
    model = EnergyModel(shape, Dense(shape, (1,), 4, 1), dict(step=1e-3, noise=0.1), 1, 1, 0.1)
    assert model.likelihood is None
    with pytest.raises(NotImplementedError, match="EnergyModel has no likelihood"):
        model.log_likelihood(np.float32(bytes_in(shape, 2)))


def test_gradient_of_the_loss():
    """Where walks have come to counts as given: with none, differences say the same."""
    model = model_of(Dense(SHAPE, (1,), 8, 1)).astype(np.float64)
    model.walked = 0
    x = bytes_in(SHAPE, 5)
    assert_gradient(model.parameters(), lambda: model.loss(x))


def test_walking_leaves_no_gradient_with_the_weights():
    model = model_of(Bowl(0.0, 0.05))
    model.sample(3)
    model.go_on(3)
    assert model.energy.mean.grad is None
    assert model.energy.mean.requires_grad


def test_learns_where_the_pictures_are():
    """m of the bowl comes to the mean of the data: the walks know where it is."""
    model, rng = model_of(Bowl(0.0, 0.02), penalty=0.0), np.random.default_rng(0)
    optimiser = td.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        x = asarray(np.float32(0.4 + 0.14 * rng.standard_normal((64, *SHAPE))))
        optimiser.zero_grad()
        model.loss(x).backward()
        optimiser.step()
    assert float(to_numpy(model.energy.mean.data)) == pytest.approx(0.4, abs=0.06)
    walked = to_numpy(model.buffer)
    assert walked.mean() == pytest.approx(0.4, abs=0.08)


def test_the_buffer_is_saved_with_the_weights():
    model = model_of(Bowl(0.0, 0.05))
    before = to_numpy(model.buffer).copy()
    model.go_on(10)
    changed = (to_numpy(model.buffer) != before).any(axis=(1, 2, 3))
    assert changed.sum() == 10
    other = model_of(Bowl(0.0, 0.05))
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(to_numpy(other.buffer), to_numpy(model.buffer))


def test_draws_from_noise_in_as_many_steps_as_it_says():
    asked = []

    class Counting(Bowl):
        def forward(self, x):
            asked.append(len(x))
            return super().forward(x)

    model = model_of(Counting(0.0, 0.05), drawing=13)
    drawn = model.sample(4, rng=np.random.default_rng(0))
    assert drawn.shape == (4, *SHAPE)
    assert asked == [4] * 13 == [4] * model.evaluations
    assert isinstance(model.energy(Tensor(drawn)), Tensor)
