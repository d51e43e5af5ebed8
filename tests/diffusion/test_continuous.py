"""SDEs: drift and diffusion against numerical derivatives, a simulation, and each other."""

import itertools

import numpy as np
import pytest

from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import NoiseSchedule
from tinydiff.diffusion.continuous import EDMSDE, VESDE, VPSDE, SubVPSDE

SDES = [VPSDE(), SubVPSDE(), VESDE(), EDMSDE(), VPSDE(1, 3), VESDE(0.1, 2)]
EACH = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)


def moments(sde, n=9):
    return np.linspace(sde.start, sde.end, n + 2)[1:-1]


def drift_rate(sde, t):
    return to_numpy(sde.drift(asarray(np.ones(len(t))), t))


@EACH
def test_rates_are_the_derivatives(sde):
    t = moments(sde)
    h = 1e-5 * (sde.end - sde.start)
    f = (np.log(sde.alpha(t + h)) - np.log(sde.alpha(t - h))) / (2 * h)
    growth = (sde.sigma(t + h) ** 2 - sde.sigma(t - h) ** 2) / (2 * h)
    np.testing.assert_allclose(drift_rate(sde, t), f, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(sde.diffusion(t) ** 2, growth - 2 * f * sde.sigma(t) ** 2, rtol=1e-6)


@EACH
@pytest.mark.parametrize("variance", [0.0, 0.25])
def test_the_variance_of_x_obeys_the_sde(sde, variance):
    """dV/dt = 2 f V + g², integrated, is α² v + σ² for data of variance v."""
    of_data = lambda t: float(sde.alpha(t) ** 2 * variance + sde.sigma(t) ** 2)
    slope = lambda t, v: 2 * drift_rate(sde, np.array([t]))[0] * v + float(sde.diffusion(t)) ** 2
    t, v = sde.start, of_data(sde.start)
    h = (sde.end - sde.start) / 400
    for i in range(400):  # Runge–Kutta's method
        t, after = sde.start + i * h, min(sde.start + (i + 1) * h, sde.end)
        k1 = slope(t, v)
        k2 = slope((t + after) / 2, v + h / 2 * k1)
        k3 = slope((t + after) / 2, v + h / 2 * k2)
        k4 = slope(after, v + h * k3)
        v += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    assert v == pytest.approx(of_data(sde.end), rel=1e-6)


@EACH
def test_a_simulation_spreads_as_it_should(sde):
    """Euler and Maruyama's method on 4,000 numbers of mean 1 and spread ½, half of the way."""
    rng, n, steps = np.random.default_rng(0), 4000, 400
    grid = np.linspace(0, 1, steps + 1) ** 2 * (sde.end - sde.start) / 2 + sde.start
    alpha, sigma = sde.alpha(sde.start), sde.sigma(sde.start)
    x = alpha * rng.normal(1, 0.5, n) + sigma * rng.standard_normal(n)
    for t, after in itertools.pairwise(grid):
        drift = to_numpy(sde.drift(asarray(x), np.full(n, t)))
        noise = rng.standard_normal(n)
        x = x + (after - t) * drift + np.sqrt(after - t) * sde.diffusion(t) * noise
    alpha, variance = sde.alpha(grid[-1]), sde.alpha(grid[-1]) ** 2 / 4 + sde.sigma(grid[-1]) ** 2
    assert abs(x.mean() - alpha) < 5 * np.sqrt(variance / n)
    assert abs(x.var() / variance - 1) < 5 * np.sqrt(2 / n) + 0.03


def test_each_as_its_paper_has_it():
    t = np.linspace(0.05, 1, 7)
    beta = 0.1 + 19.9 * t
    integral = 0.1 * t + 9.95 * t**2
    vp, sub, ve, edm = SDES[:4]
    np.testing.assert_allclose(vp.diffusion(t), np.sqrt(beta), rtol=1e-12)
    np.testing.assert_allclose(vp.alpha(t), np.exp(-integral / 2))
    np.testing.assert_allclose(vp.alpha(t) ** 2 + vp.sigma(t) ** 2, 1, rtol=1e-14)
    np.testing.assert_allclose(
        sub.diffusion(t), np.sqrt(beta * (1 - np.exp(-2 * integral))), rtol=1e-12
    )
    np.testing.assert_allclose(sub.sigma(t), vp.sigma(t) ** 2)
    np.testing.assert_allclose(drift_rate(sub, t), -beta / 2)
    np.testing.assert_allclose(ve.sigma(t), 0.01 * 5000**t)
    np.testing.assert_allclose(ve.diffusion(t), 0.01 * 5000**t * np.sqrt(2 * np.log(5000)))
    np.testing.assert_allclose(edm.diffusion(t), np.sqrt(2 * t))
    assert (edm.start, edm.end) == (0.002, 80)
    for exploding in (ve, edm):
        np.testing.assert_array_equal(drift_rate(exploding, t), 0)
        np.testing.assert_array_equal(exploding.alpha(t), 1)


def test_vp_is_the_limit_of_ddpm():
    for T, tolerance in ((1000, 0.02), (16_000, 0.0013)):
        schedule, t = NoiseSchedule.linear(T, 0.1 / T, 20 / T), (np.arange(T) + 1) / T
        early = t < 0.7
        signal = np.sqrt(schedule.alphas_cumprod)
        np.testing.assert_allclose(VPSDE().alpha(t)[early], signal[early], rtol=tolerance)


def test_little_noise_keeps_its_digits():
    t = 1e-12
    assert VPSDE().sigma(t) == pytest.approx(np.sqrt(0.1 * t), rel=1e-9)
    assert SubVPSDE().sigma(t) == pytest.approx(0.1 * t, rel=1e-9)


@pytest.mark.parametrize(("sde", "sigma"), list(zip(SDES[:4], [1, 1, 50, 80], strict=True)))
def test_prior(sde, sigma):
    assert sde.prior_sigma == sigma
    assert sde.sigma(sde.end) == pytest.approx(sigma, rel=1e-4)
    noise = sde.prior((5000, 2), rng=np.random.default_rng(0))
    assert noise.dtype == np.float32
    assert to_numpy(noise).std() == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_drift_is_of_each_picture(dtype):
    x, t = np.ones((3, 2, 2, 1), dtype), np.array([0.1, 0.5, 1])
    drift = VPSDE().drift(asarray(x), t)
    assert drift.dtype == dtype and drift.shape == x.shape
    np.testing.assert_allclose(to_numpy(drift)[:, 1, 1, 0], -(0.1 + 19.9 * t) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VPSDE(2, 1), "beta_min ≤ beta_max, got 2 and 1"),
        (lambda: SubVPSDE(0, 1), "beta_min"),
        (lambda: VESDE(0, 1), "sigma_min"),
        (lambda: EDMSDE(1, float("inf")), "sigma_max"),
        (lambda: VPSDE().diffusion(1.1), "t: .*0 … 1, got 1.1"),
        (lambda: EDMSDE().diffusion([1, 0.001]), "t: .*0.002 … 80"),
        (lambda: VPSDE().drift(asarray(np.ones(2)), [0.5, float("nan")]), "t: "),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
