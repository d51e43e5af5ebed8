"""Samplers that draw noise: mean and variance on Gaussian data, where every step is linear."""

import math
from itertools import pairwise

import numpy as np
import pytest
from ideal import gaussian, last, noise

from tinydiff import Tensor
from tinydiff.backend import to_numpy, xp
from tinydiff.diffusion import (
    Churn,
    GaussianDiffusion,
    NoiseSchedule,
    denoiser,
    sample_ddim,
    sample_ddpm,
    sample_dpm_solver,
    sample_euler,
    sample_heun,
    sample_predictor_corrector,
)
from tinydiff.diffusion.samplers.predictor_corrector import langevin_step
from tinydiff.diffusion.samplers.shared import karras

LINEAR, COSINE = NoiseSchedule.linear(), NoiseSchedule.cosine()
BOTH = pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])


def check_moments(x, mean, variance):
    """Within four standard errors."""
    assert abs(x.mean() - mean) < 4 * math.sqrt(variance / len(x)), (x.mean(), mean)
    assert abs(x.var() / variance - 1) < 4 * math.sqrt(2 / len(x)), (x.var(), variance)


class WithVariance:
    """An ideal denoiser that also says how far between its bounds the variance lies."""

    def __init__(self, denoise, fraction):
        self.denoise, self.fraction = denoise, fraction

    def __call__(self, x, t):
        return self.denoise(x, t)

    def with_variance(self, x, t):
        return self.denoise(x, t), xp.full(x.shape, self.fraction, x.dtype)


@BOTH
@pytest.mark.parametrize("steps", [50, 1000])
@pytest.mark.parametrize("variance", ["small", "large", 0.3])
def test_ddpm_gives_gaussian_data_the_spread_it_should(schedule, steps, variance):
    """Every step is linear, so x stays Gaussian and its variance can be carried along by hand."""
    few, v, expected = schedule.respaced(steps), 0.09, 1.0
    share = {"small": 0, "large": 1}.get(variance, variance)
    for i in reversed(range(steps)):
        after, before = few.alphas_cumprod[i], few.alphas_cumprod_prev[i]
        beta = 1 - after / before
        guess = np.sqrt(after) * v / (after * v + 1 - after)  # E[x0 | x_t] = guess · x_t
        pull = np.sqrt(before) * beta * guess + np.sqrt(1 - beta) * (1 - before)
        drawn = beta * ((1 - before) / (1 - after)) ** (1 - share) if i else 0
        expected = (pull / (1 - after)) ** 2 * expected + drawn
    denoise, learned = gaussian(schedule, v), not isinstance(variance, str)
    x = last(
        sample_ddpm(
            WithVariance(denoise, variance) if learned else denoise,
            noise(20_000),
            schedule,
            steps=steps,
            variance="learned" if learned else variance,
            clip=False,
            rng=np.random.default_rng(1),
        )
    )
    check_moments(x, 0, expected)
    if steps == 1000:
        assert expected == pytest.approx(v, rel=0.04), "no variance is far off in many steps"


def test_the_variance_that_is_right_for_gaussian_data_can_be_learned():
    """Var(x_{t−1} | x_t) is β̃_t plus what x_0 still leaves open: with it the marginals are exact,
    in however few steps."""
    v, few = 0.09, COSINE.respaced(5)

    class Ideal(WithVariance):
        def with_variance(self, x, t):
            i = few.timesteps.tolist().index(int(t[0]))
            after = few.alphas_cumprod[i]
            left_open = v * (1 - after) / (after * v + 1 - after)  # Var(x0 | x_t)
            small, large = few.posterior_variance[i], few.betas[i]
            right = small + few.posterior_mean_coef1[i] ** 2 * left_open
            share = math.log(right / small) / math.log(large / small) if i else 0.0
            return self.denoise(x, t), xp.full(x.shape, share, x.dtype)

    denoise = Ideal(gaussian(COSINE, v), None)
    settings = dict(steps=5, variance="learned", clip=False, rng=np.random.default_rng(1))
    film = list(sample_ddpm(denoise, noise(20_000), COSINE, **settings))
    for i, x in zip(reversed(range(1, 5)), film, strict=False):
        before = few.alphas_cumprod[i - 1]
        check_moments(to_numpy(x), 0, before * v + 1 - before)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_a_networks_learned_variance_reaches_the_step(prediction):
    """The first step of all T is drawn from p(x_{t−1} | x_t) of the network's whole output."""
    diffusion = GaussianDiffusion(COSINE, prediction, learned_variance=True)
    model = lambda x, t, cond: Tensor(xp.concatenate([0.9 * x.data, xp.sin(x.data)], axis=-1))
    x_T, t = noise(3, 4, 2), np.full(3, 999)
    settings = dict(variance="learned", clip=False, rng=np.random.default_rng(1))
    x = next(sample_ddpm(denoiser(model, diffusion), x_T, COSINE, **settings))
    z = np.random.default_rng(1).standard_normal((3, 4, 2))
    output = model(Tensor(x_T), t, None).data
    mean, log_variance = (to_numpy(a) for a in diffusion.p_mean_variance(x_T, t, output))
    np.testing.assert_allclose(to_numpy(x), mean + np.exp(log_variance / 2) * z, rtol=1e-6)
    assert not hasattr(denoiser(model, GaussianDiffusion(COSINE)), "with_variance")


@BOTH
@pytest.mark.parametrize(
    ("sampler", "settings"),
    [
        (sample_heun, dict(steps=200, churn=Churn(40))),
        (sample_dpm_solver, dict(steps=100, stochastic=True)),
        (sample_predictor_corrector, dict(steps=500, r=0.05)),
        (sample_predictor_corrector, dict(steps=500, r=0.05, corrections=2)),
    ],
)
def test_gaussian_data_come_back_with_their_mean_and_variance(schedule, sampler, settings):
    mean, v, n = 0.3, 0.09, 10_000
    denoise = gaussian(schedule, v, mean)
    x = last(
        sampler(denoise, noise(n), schedule, clip=False, rng=np.random.default_rng(1), **settings)
    )
    assert abs(x.mean() - mean) < 4 * math.sqrt(v / n) + 0.004, x.mean()
    assert abs(x.var() / v - 1) < 4 * math.sqrt(2 / n) + 0.02, x.var() / v


@BOTH
@pytest.mark.parametrize("churn", [Churn(4), Churn(40, 0.05, 10, 1.01)])
@pytest.mark.parametrize("sampler", [sample_euler, sample_heun])
def test_churn_step_by_step(schedule, churn, sampler):
    """Steps on Gaussian data are linear in y, and the variance can be carried along by hand."""
    v, steps = 0.09, 18
    sigmas = karras(schedule, steps)
    slope = lambda sigma: sigma / (v + sigma**2)  # (y − D(y, σ))/σ = slope · y
    variance, expected = 1 + sigmas[0] ** 2, []
    for sigma, after in pairwise(sigmas):
        if churn.S_tmin <= sigma <= churn.S_tmax:
            raised = sigma * (1 + min(churn.S_churn / steps, math.sqrt(2) - 1))
            variance += churn.S_noise**2 * (raised**2 - sigma**2)
            sigma = raised
        factor = 1 + (after - sigma) * slope(sigma)
        if sampler is sample_heun and after > 0:
            factor = 1 + (after - sigma) / 2 * (slope(sigma) + slope(after) * factor)
        variance *= factor**2
        expected.append(variance / (1 + after**2))
    settings = dict(steps=steps, churn=churn, clip=False, rng=np.random.default_rng(1))
    film = sampler(gaussian(schedule, v), noise(20_000), schedule, **settings)
    for x, variance in zip(film, expected, strict=True):
        check_moments(to_numpy(x), 0, variance)


def test_churn_adds_the_noise_it_says():
    churn, y, rng = Churn(10, 0.5, 2.0, 1.5), xp.zeros((20_000, 1)), np.random.default_rng(0)
    raised, sigma = churn(y, 1.0, 50, rng)
    assert sigma == pytest.approx(1.2)
    check_moments(to_numpy(raised), 0, 1.5**2 * (1.2**2 - 1))
    assert churn(y, 1.0, 5, rng)[1] == pytest.approx(math.sqrt(2)), "γ is at most √2 − 1"
    for outside in (0.49, 2.01):
        kept, sigma = churn(y, outside, 50, rng)
        assert kept is y and sigma == outside


@pytest.mark.parametrize("name", ["S_churn", "S_tmin", "S_tmax", "S_noise"])
@pytest.mark.parametrize("value", [-1, math.nan])
def test_churn_refuses(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected a number ≥ 0"):
        Churn(**{name: value})


@BOTH
def test_a_step_of_the_sde_solver_is_one_of_ddim_with_eta_1(schedule):
    """Both draw from q(x_{t−1} | x_t, x_0): the first step has no other x_0 to look back to."""
    few = schedule.respaced(10)
    levels = lambda schedule, steps: [*few.sigmas[::-1].tolist(), 0.0]
    denoise, x_T = gaussian(schedule, 0.2), noise(5, 2)
    sde = sample_dpm_solver(
        denoise,
        x_T,
        schedule,
        steps=10,
        levels=levels,
        stochastic=True,
        rng=np.random.default_rng(3),
    )
    ddim = sample_ddim(denoise, x_T, schedule, steps=10, eta=1.0, rng=np.random.default_rng(3))
    np.testing.assert_allclose(to_numpy(next(sde)), to_numpy(next(ddim)), rtol=1e-6)


@pytest.mark.parametrize("i", [20, 60])
@pytest.mark.parametrize("start", [1.0, 1.3])
def test_langevin_steps_keep_the_marginal(i, start):
    """q_t of Gaussian data has variance V; steps of finite length settle at V (1 + α r²), from
    wherever they start."""
    schedule, v, r = NoiseSchedule.cosine(100), 0.09, 0.16
    diffusion, signal = GaussianDiffusion(schedule), schedule.alphas_cumprod[i]
    marginal = signal * v + 1 - signal
    settled = marginal * (1 + schedule.alphas[i] * r**2)
    x, rng = noise(400, 100) * math.sqrt(start * marginal), np.random.default_rng(1)
    for _ in range(100):
        x = langevin_step(gaussian(schedule, v), diffusion, x, i, r=r, clip=False, rng=rng)
    check_moments(to_numpy(x).ravel(), 0, settled)


def test_langevin_steps_of_hardly_any_length_change_nothing():
    schedule = NoiseSchedule.cosine(100)
    x, rng = noise(10, 4), np.random.default_rng(1)
    y = langevin_step(
        gaussian(schedule, 0.2), GaussianDiffusion(schedule), x, 50, r=1e-9, clip=False, rng=rng
    )
    np.testing.assert_allclose(to_numpy(y), to_numpy(x), atol=1e-7)


def test_a_correction_improves_what_few_steps_have_left():
    """5 steps of DDPM draw Gaussian data too tight; Langevin steps widen what they draw."""
    v, errors = 0.09, []
    for corrections in (0, 10):
        settings = dict(steps=5, corrections=corrections, clip=False, rng=np.random.default_rng(1))
        film = list(
            sample_predictor_corrector(gaussian(COSINE, v), noise(20_000), COSINE, **settings)
        )
        before = COSINE.respaced(5).alphas_cumprod[0]  # where the last correction takes place
        errors.append(abs(to_numpy(film[-2]).var() / (before * v + 1 - before) - 1))
    assert errors[1] < errors[0] / 3, errors


def test_without_corrections_it_is_ddpm():
    settings = dict(steps=7, rng=np.random.default_rng(2))
    pc = sample_predictor_corrector(
        gaussian(COSINE, 0.2), noise(4, 2), COSINE, corrections=0, **settings
    )
    settings = dict(steps=7, rng=np.random.default_rng(2))
    ddpm = sample_ddpm(gaussian(COSINE, 0.2), noise(4, 2), COSINE, **settings)
    for a, b in zip(pc, ddpm, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
