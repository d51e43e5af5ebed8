"""A mixture of Gaussians under noise: its density, score and ideal network at every moment."""

import math

import numpy as np
import pytest

from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule, sample_ddim, sample_ddpm
from tinydiff.diffusion.denoiser import denoiser
from tinydiff.diffusion.mixture import GaussianMixture

SCHEDULES = [NoiseSchedule.linear(), NoiseSchedule.cosine()]
BOTH = pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "cosine"])
ONE = GaussianMixture([1, 2, 1], [[-0.8], [0.1], [0.9]], [0.05, 0.1, 0.02])  # on a line
TWO = GaussianMixture([0.3, 0.7], [[-0.5, 0.4], [0.6, -0.1]], [[0.1, 0.3], [0.05, 0.2]])
MOMENTS = [0, 1, 200, 500.5, 999]


def columns(a):
    return asarray(np.asarray(a, np.float64).reshape(-1, 1))


def distribution_function(x, signal, sigma):
    """∫ of ONE's density up to x, by the standard library's erf."""
    total = 0
    for w, m, s in zip(ONE.weights, ONE.means[:, 0], ONE.stds[:, 0], strict=True):
        z = (x - signal * m) / math.hypot(signal * s, sigma)
        total = total + w * 0.5 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in z]))
    return total


def greatest_gap(samples, signal, sigma):
    """Kolmogorov's distance between the samples and ONE's distribution at that moment, · √N."""
    ranked = np.sort(to_numpy(samples)[:, 0])
    expected = distribution_function(ranked, signal, sigma)
    n = len(ranked)
    above, below = np.arange(1, n + 1) / n - expected, expected - np.arange(n) / n
    return math.sqrt(n) * max(above.max(), below.max())


SURE = 1.95  # of Kolmogorov's distance: samples of the distribution itself exceed it once in 1000


@BOTH
@pytest.mark.parametrize("t", MOMENTS)
def test_density_is_the_slope_of_the_distribution(schedule, t):
    signal, sigma = (float(a) for a in schedule.signal_and_sigma(t))
    grid = np.linspace(-6, 6, 400_001)
    middle = (grid[1:] + grid[:-1]) / 2
    density = np.exp(to_numpy(ONE.log_density(columns(middle), signal, sigma)))
    mass = density * (grid[1] - grid[0])
    expected = distribution_function(np.array([-7, -0.5, 0.0, 0.7, 7]), signal, sigma)
    got = [mass[middle < end].sum() for end in (-7, -0.5, 0.0, 0.7, 7)]
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert mass.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("signal", "sigma"), [(1, 0), (0.8, 0.6), (0.1, 0.99)])
def test_score_is_the_slope_of_the_log_density(signal, sigma):
    x, h = np.random.default_rng(0).uniform(-1, 1, (20, 2)), 1e-5
    score = TWO.score(asarray(x), signal, sigma).numpy()
    for i in range(2):
        step = h * np.eye(2)[i]
        high, low = (
            to_numpy(TWO.log_density(asarray(p), signal, sigma)) for p in (x + step, x - step)
        )
        np.testing.assert_allclose(score[:, i], (high - low) / (2 * h), rtol=1e-5, atol=1e-5)


@BOTH
def test_the_ideal_network_predicts_the_mean_of_eps(schedule):
    """E[ε | x_t] by summing over a fine grid of x_0, with a moment of its own for each x_t."""
    t, x_t = np.array([30, 200, 500.5, 800]), np.array([0.3, -0.7, 0.2, 1.1])
    x0 = np.linspace(-1.5, 1.5, 100_001)
    prior = np.exp(to_numpy(ONE.log_density(columns(x0))))
    expected = []
    for moment, x in zip(t, x_t, strict=True):
        signal, sigma = schedule.signal_and_sigma(moment)
        eps = (x - signal * x0) / sigma
        weight = prior * np.exp(-(eps**2) / 2)
        expected.append((weight * eps).sum() / weight.sum())
    got = ONE.ideal_network(schedule)(Tensor(columns(x_t)), t).numpy()[:, 0]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@BOTH
def test_single_steps_lead_through_the_kernels_distributions(schedule):
    """20,000 points are led through q(x_t | x_{t−1}); at every look they are spread as a mixture
    whose jump q(x_t | x_0) is known in closed form: three narrow peaks that melt into one."""
    steps, rng = schedule.respaced(25), np.random.default_rng(0)
    x = to_numpy(ONE.sample(20_000, rng=rng))
    assert greatest_gap(x, 1, 0) < SURE
    for t, beta in enumerate(steps.betas):
        x = np.sqrt(1 - beta) * x + np.sqrt(beta) * rng.standard_normal(x.shape)
        if t % 4 == 0:
            signal, sigma = steps.signal_and_sigma(t)
            assert greatest_gap(x, signal, sigma) < SURE, t


@BOTH
def test_q_sample_gives_the_kernels_distribution(schedule):
    rng = np.random.default_rng(1)
    for t in (0, 100, 400, 700, 999):
        x0 = ONE.sample(20_000, rng=rng)
        noise = asarray(rng.standard_normal(x0.shape))
        x_t = GaussianDiffusion(schedule).q_sample(x0, np.full(len(x0), t), noise)
        assert greatest_gap(x_t, *schedule.signal_and_sigma(t)) < SURE, t


@pytest.mark.parametrize("sampler", [sample_ddpm, sample_ddim])
def test_samplers_lead_back_to_the_mixture(sampler):
    """With the exact score; what is left over is the samplers' own step size."""
    schedule, rng = NoiseSchedule.cosine(), np.random.default_rng(0)
    denoise = denoiser(ONE.ideal_network(schedule), GaussianDiffusion(schedule))
    noise = asarray(rng.standard_normal((4000, 1)))
    *_, x = sampler(denoise, noise, schedule, steps=1000, clip=False, rng=rng)
    assert greatest_gap(x, 1, 0) < SURE


def test_points_are_a_mixture_without_width():
    points = GaussianMixture([1, 3], [[-0.5], [0.5]], 0)
    drawn = to_numpy(points.sample(4000, rng=np.random.default_rng(0)))
    assert set(np.unique(drawn)) == {-0.5, 0.5}
    assert abs((drawn > 0).mean() - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 4000)
    network = points.ideal_network(SCHEDULES[0])
    signal, sigma = SCHEDULES[0].signal_and_sigma(10)
    near = 0.5 * signal + 0.1 * sigma
    got = network(Tensor(columns([near])), np.array([10])).numpy()
    np.testing.assert_allclose(got, 0.1, rtol=1e-9)


def test_widths_may_be_given_in_short():
    means, x = [[0.0, 0.1], [0.5, 0.2]], asarray(np.array([[0.2, 0.3]]))
    same = [
        GaussianMixture([1, 1], means, s)
        for s in (0.3, [0.3, 0.3], [[0.3], [0.3]], [[0.3] * 2] * 2)
    ]
    densities = [float(m.log_density(x)[0]) for m in same]
    assert len(set(densities)) == 1


def test_the_seed_decides_and_dtypes_stay():
    one, same = (TWO.sample(5, rng=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(to_numpy(one), to_numpy(same))
    x = TWO.sample(5, dtype=np.float32)
    assert x.dtype == TWO.log_density(x).dtype == TWO.score(x).dtype == np.float32
    network = TWO.ideal_network(SCHEDULES[0])
    assert network(Tensor(x), np.full(5, 3)).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GaussianMixture([1], [[0.0], [1.0]], 1), r"weights, means: .*\(1,\) and \(2, 1\)"),
        (lambda: GaussianMixture([1], [0.0], 1), r"weights, means: .*\(1,\)"),
        (lambda: GaussianMixture([1, -1], [[0.0], [1.0]], 1), "weights: .*-1"),
        (lambda: GaussianMixture([0, 0], [[0.0], [1.0]], 1), "weights: .*not all zero"),
        (lambda: GaussianMixture([1, 1], [[0.0], [1.0]], [1, -1]), "stds: .*-1"),
        (lambda: GaussianMixture([1, 1], [[0.0], [1.0]], [1, 1, 1]), "stds: "),
        (lambda: GaussianMixture([1], [[0.0]], [[1, 1]]), "stds: "),
        (lambda: TWO.log_density(columns([0.0])), r"x: expected shape \(N, 2\), got \(1, 1\)"),
        (lambda: TWO.ideal_network(SCHEDULES[0])(None, None, [1]), "cond: "),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
