"""The discretised Gaussian: masses that sum to 1, the standard library's erfc, far tails."""

import math

import numpy as np
import pytest

from tinydiff import Tensor, gradcheck
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion.discretised import discretized_gaussian_log_likelihood

LEVELS = np.linspace(-1, 1, 256)


def log_likelihood(x, mean, log_scale, dtype=np.float64):
    arrays = (asarray(np.asarray(a, dtype)) for a in (x, mean, log_scale))
    return to_numpy(discretized_gaussian_log_likelihood(*map(Tensor, arrays)).data)


def by_definition(x, mean, scale):
    """Differences of erfc on the side where it is small: exact until it underflows."""
    half = 1 / 255
    sign = -1 if x - mean > 0 else 1
    if abs(x) > 0.999:
        sign = -1 if x > 0 else 1
    tail = lambda z: 0.5 * math.erfc(-z / math.sqrt(2))
    centre = sign * (x - mean)
    low = 0 if abs(x) > 0.999 else tail((centre - half) / scale)
    return math.log(tail((centre + half) / scale) - low)


@pytest.mark.parametrize("mean", [-1.3, -1, -0.2, 0, 0.51, 1, 2])
@pytest.mark.parametrize("scale", [1e-3, 0.02, 0.3, 1, 50])
def test_the_masses_of_all_levels_sum_to_one(mean, scale):
    logs = log_likelihood(LEVELS, mean, math.log(scale))
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
def test_agrees_with_the_definition(dtype, tolerance):
    rng = np.random.default_rng(0)
    x = rng.choice(LEVELS, 2000)
    scale = np.exp(rng.uniform(math.log(0.02), math.log(3), 2000))
    mean = np.clip(x + 20 * scale * rng.uniform(-1, 1, 2000), -3, 3)
    x, mean, scale = (a.astype(dtype).astype(float) for a in (x, mean, scale))
    expected = [by_definition(*values) for values in zip(x, mean, scale, strict=True)]
    got = log_likelihood(x, mean, np.log(scale), dtype)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_far_away_the_logarithm_goes_on_as_the_square():
    """z = 5,000 standard deviations off, where exp(ln p) has long been 0: ln Φ(z) ≈ −z²/2."""
    for dtype in (np.float32, np.float64):
        got = log_likelihood(0.0, 1.0, math.log(2e-4), dtype)
        assert got == pytest.approx(-(((1 - 1 / 255) / 2e-4) ** 2) / 2, rel=1e-4)


def test_narrow_bins_are_density_times_width():
    x = LEVELS[1:-1]
    z = (x - 0.3) / 7
    expected = -0.5 * z * z - math.log(7 * math.sqrt(2 * math.pi)) + math.log(2 / 255)
    np.testing.assert_allclose(log_likelihood(x, 0.3, math.log(7)), expected, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-3, 0.02, 0.5, 10])
def test_gradient(scale):
    rng = np.random.default_rng(1)
    x = np.concatenate([[-1, 1, -1, 1], rng.choice(LEVELS, 20)])
    mean = x + 3 * scale * rng.uniform(-1, 1, 24)
    fn = lambda mean, log_scale: discretized_gaussian_log_likelihood(
        Tensor(asarray(x)), mean, log_scale
    )
    gradcheck(fn, mean, np.full(24, math.log(scale)))


def test_the_gradient_leads_back_from_afar():
    mean = Tensor(asarray(np.array([0.9, -1, 0.9], np.float32)), requires_grad=True)
    log_scale = Tensor(asarray(np.full(3, -7, np.float32)), requires_grad=True)
    x = Tensor(asarray(np.array([-1, 1, 1 / 255], np.float32)))
    discretized_gaussian_log_likelihood(x, mean, log_scale).sum().backward()
    edge = np.array([-1 + 1 / 255, 1 - 1 / 255, 2 / 255])  # of the bin, on μ's side
    z = (edge - [0.9, -1, 0.9]) * math.exp(7)
    np.testing.assert_allclose(to_numpy(mean.grad), z * math.exp(7), rtol=1e-3)
    np.testing.assert_allclose(to_numpy(log_scale.grad), z * z, rtol=1e-3)


def test_one_scale_a_picture():
    x = asarray(np.zeros((3, 2, 2, 1)))
    log_scale = Tensor(asarray(np.full((3, 1, 1, 1), -1.0)), requires_grad=True)
    out = discretized_gaussian_log_likelihood(x, Tensor(x), log_scale)
    out.sum().backward()
    assert out.shape == x.shape and log_scale.grad.shape == (3, 1, 1, 1)
