"""Editing on Gaussian data, where what is right is known: two numbers that go together."""

import itertools

import numpy as np
import pytest
from ideal import gaussian, last

from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import (
    NoiseSchedule,
    inpaint,
    interpolate,
    sample_ddim,
    sample_ddpm,
    sample_dpm_solver,
    sample_euler,
    sample_heun,
    sample_ode,
    sdedit,
    slerp,
    variations,
)

SCHEDULE = NoiseSchedule.cosine(1000)
COVARIANCE = 0.09 * np.array([[1, 0.8], [0.8, 1]])  # the correlation is 0.8


def denoise(x, t):
    """The ideal denoiser of x0 ~ N(0, COVARIANCE): ε = σ (ᾱ COVARIANCE + σ² I)⁻¹ x"""
    signal = SCHEDULE.alphas_cumprod[t[0]]
    inverse = np.linalg.inv(signal * COVARIANCE + (1 - signal) * np.eye(2))
    return x @ asarray(np.sqrt(1 - signal) * inverse, x.dtype)


def pictures(n=3, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).uniform(-0.8, 0.8, (n, 2)).astype(dtype)


class NoNoise(np.random.Generator):
    """All is linear here, so what becomes of no noise is the mean of what becomes of any."""

    def standard_normal(self, shape, dtype=np.float64):
        return np.zeros(shape, dtype)


def mean_drawn(**settings):
    """The mean of the second number where the first is 0.5: it should be 0.8 · 0.5."""
    x0, known = np.array([[0.5, 0.0]]), np.array([True, False])
    rng = NoNoise(np.random.PCG64(0))
    return last(inpaint(denoise, x0, known, SCHEDULE, rng=rng, **settings))[0, 1]


# Inpainting


def test_mere_replacement_is_biased_however_many_steps_and_repaint_is_not():
    assert abs(mean_drawn(steps=50) - 0.238) < 2e-3
    assert abs(mean_drawn(steps=1000) - 0.249) < 2e-3
    errors = [0.4 - mean_drawn(steps=50, resamplings=r) for r in (1, 3, 10, 40)]
    assert all(0 < after < before for before, after in itertools.pairwise(errors)), errors
    assert errors[-1] < 0.01
    assert 0 < 0.4 - mean_drawn(steps=100, resamplings=40) < 0.007


def test_longer_jumps_need_more_steps():
    at = [mean_drawn(steps=s, jump=5, resamplings=10) for s in (50, 100, 200)]
    assert 0.3 < at[0] < at[1] < at[2] < 0.4


def test_the_mean_that_repaint_draws_within_sampling_error():
    x0, known = np.tile([0.5, 0.0], (400, 1)), np.array([True, False])

    def drawn(resamplings):
        rng = np.random.default_rng(0)
        settings = dict(steps=50, resamplings=resamplings, rng=rng)
        return last(inpaint(denoise, x0, known, SCHEDULE, **settings))[:, 1]

    error = 0.18 / 20  # the conditional deviation is 0.3 √(1 − 0.8²)
    assert abs(drawn(20).mean() - 0.4) < 4 * error
    assert abs(drawn(1).mean() - 0.4) > 12 * error


@pytest.mark.parametrize("settings", [{}, {"resamplings": 3, "jump": 4}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_known_pixels_are_those_given(settings, dtype):
    x0 = pictures(4, dtype=dtype)
    known = np.array([[True, False], [False, True], [True, True], [False, False]])
    x = last(inpaint(denoise, x0, known, SCHEDULE, steps=10, **settings))
    assert x.dtype == dtype
    np.testing.assert_array_equal(x[known], x0[known])
    assert np.all(x[~known] != x0[~known])


def test_what_is_to_be_drawn_is_not_looked_at():
    known = np.array([True, False])
    one, other = pictures(), pictures()
    other[:, 1] = 0.123
    films = (
        inpaint(denoise, x, known, SCHEDULE, steps=5, rng=np.random.default_rng(1))
        for x in (one, other)
    )
    np.testing.assert_array_equal(*map(last, films))


def test_nothing_known_is_ddpm():
    """Same means: the order in which noise is drawn differs."""
    rng = NoNoise(np.random.PCG64(0))
    film = inpaint(denoise, pictures(), np.array(False), SCHEDULE, steps=7, rng=rng)
    wanted = sample_ddpm(denoise, np.zeros((3, 2)), SCHEDULE, steps=7, rng=rng)
    for a, b in zip(film, wanted, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_each_stretch_is_walked_so_often():
    asked = []

    def watched(x, t):
        asked.append(int(t[0]))
        return denoise(x, t)

    film = inpaint(watched, pictures(), np.array(True), SCHEDULE, steps=5, jump=2, resamplings=2)
    assert len(list(film)) == 10
    assert asked == [999, 799, 999, 799, 599, 399, 599, 399, 199, 199]


def test_going_back_up_adds_the_noise_of_the_way():
    """With a denoiser that says nothing, x just before the second walk has variance 1 again."""
    seen = []

    def watched(x, t):
        seen.append(to_numpy(x))
        return denoise(x, t)

    nothing = np.zeros((20_000, 2))
    list(inpaint(watched, nothing, np.array(False), SCHEDULE, steps=4, jump=2, resamplings=2))
    signal = SCHEDULE.alphas_cumprod[[999, 499]]
    for x, a in zip((seen[2], seen[6]), signal, strict=True):
        wanted = a * COVARIANCE + (1 - a) * np.eye(2)
        np.testing.assert_allclose(np.cov(x.T), wanted, atol=0.04)


# From a step in between


@pytest.mark.parametrize("steps", [1, 10, 50])
def test_hardly_any_strength_returns_the_picture(steps):
    x0 = pictures()
    x = last(sdedit(denoise, x0, SCHEDULE, strength=1e-9, steps=steps))
    np.testing.assert_allclose(x, x0, atol=0.03)
    assert np.any(x != x0)


def test_full_strength_forgets_the_picture():
    films = [
        last(sdedit(denoise, x0, SCHEDULE, strength=1, rng=np.random.default_rng(3)))
        for x0 in (pictures(seed=1), pictures(seed=2))
    ]
    np.testing.assert_allclose(*films, atol=1e-3)


def test_strength_decides_how_much_stays():
    """Noised to ᾱ and drawn back, x0 leaves S x0 behind, S = √ᾱ Σ (ᾱ Σ + σ²)⁻¹ √ᾱ: E[x0 | x_t]."""
    x0 = pictures(1)
    rng = NoNoise(np.random.PCG64(0))
    for strength in (0.3, 0.6, 0.9):
        x = last(sdedit(denoise, x0, SCHEDULE, strength=strength, steps=1000, rng=rng))
        a = SCHEDULE.alphas_cumprod[round(strength * 1000) - 1]
        stays = a * COVARIANCE @ np.linalg.inv(a * COVARIANCE + (1 - a) * np.eye(2))
        np.testing.assert_allclose(x, x0 @ stays, atol=0.02)


def test_the_network_is_asked_for_the_part_below_only():
    asked = []

    def watched(x, t):
        asked.append(int(t[0]))
        return denoise(x, t)

    list(sdedit(watched, pictures(), SCHEDULE, strength=0.4, steps=4))
    assert asked == [399, 299, 199, 99]
    asked.clear()
    list(sdedit(watched, pictures(), SCHEDULE, strength=0.003, steps=50))
    assert asked == [2, 1, 0]


def test_the_way_back_may_be_another_samplers():
    x0, rng = pictures(), NoNoise(np.random.PCG64(0))
    x = last(sdedit(denoise, x0, SCHEDULE, strength=0.4, steps=4, sampler=sample_ddim, rng=rng))
    part = SCHEDULE.until(399)
    wanted = last(sample_ddim(denoise, part.sqrt_alphas_cumprod[-1] * x0, part, steps=4))
    np.testing.assert_allclose(x, wanted, atol=1e-12)
    ddpm = last(sdedit(denoise, x0, SCHEDULE, strength=0.4, steps=4, rng=rng))
    assert np.abs(ddpm - wanted).max() > 1e-3


@pytest.mark.parametrize(
    "sampler", [sample_ddim, sample_euler, sample_heun, sample_dpm_solver, sample_ode]
)
@pytest.mark.parametrize("t", [999, 600, 250])
def test_every_sampler_can_begin_in_between(sampler, t):
    """x_t ~ N(0, ᾱ v + σ²) is mapped to x_0 ~ N(0, v), from wherever one begins."""
    v, signal = 0.09, SCHEDULE.alphas_cumprod
    x_t = asarray(np.linspace(-0.5, 0.5, 5)[:, None])
    part = SCHEDULE.until(t)
    x = last(sampler(gaussian(SCHEDULE, v), x_t, part, steps=200, clip=False))
    exact = to_numpy(x_t) * np.sqrt(v / (signal[t] * v + 1 - signal[t]))
    np.testing.assert_allclose(x, exact, rtol=0.03)


# By inversion


def test_interpolation_ends_at_both_pictures():
    first, second = pictures(seed=1), pictures(seed=2)
    errors = []
    for steps in (100, 200, 400):
        ends = interpolate(denoise, first, second, SCHEDULE, weights=[0, 1], steps=steps)
        a, b = map(to_numpy, ends)
        errors.append(max(np.abs(a - first).max(), np.abs(b - second).max()))
    assert errors[-1] < 0.02
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, atol=0.2)


def test_interpolation_keeps_to_the_data():
    """Halfway between two pictures of many pixels, straight on has half the variance; this all."""
    ends = np.random.default_rng(0).multivariate_normal([0, 0], COVARIANCE, (2, 10, 1000))
    first, second = np.clip(ends, -1, 1)
    films = interpolate(denoise, first, second, SCHEDULE, weights=[0, 0.5, 1], steps=100)
    start, middle, end = (np.cov(to_numpy(x).reshape(-1, 2).T) for x in films)
    np.testing.assert_allclose(middle, (start + end) / 2, atol=0.005)


def test_slerp_keeps_the_length_and_turns_evenly():
    a, b = np.array([[1.0, 0, 0], [0, 2, 0]]), np.array([[0.0, 1, 0], [0, 0, 2]])
    for weight in (0, 0.25, 0.5, 1):
        x = to_numpy(slerp(asarray(a), asarray(b), weight))
        turn = weight * np.pi / 2
        np.testing.assert_allclose(x, np.cos(turn) * a + np.sin(turn) * b, atol=1e-12)
    same = to_numpy(slerp(asarray(a), asarray(a), 0.3))
    np.testing.assert_allclose(same, a, atol=1e-7)
    one = slerp(asarray(a, np.float32), asarray(b, np.float32), np.float64(0.5))
    assert one.dtype == np.float32


@pytest.mark.parametrize(
    ("b", "weight", "error", "text"),
    [
        (np.ones((2, 4)), 0.5, ValueError, r"b: expected float64 of shape \(2, 3\)"),
        (np.ones((2, 3), int), 0.5, TypeError, "floating-point"),
        (np.ones((2, 3)), 1.5, ValueError, r"weight: expected a number in \[0, 1\], got 1.5"),
        (np.ones((2, 3)), np.nan, ValueError, "weight: "),
    ],
)
def test_slerp_refuses_what_it_cannot_turn(b, weight, error, text):
    with pytest.raises(error, match=text):
        slerp(np.ones((2, 3)), b, weight)


def test_variations_leave_the_picture_by_and_by():
    x0 = np.tile([0.5, 0.3], (200, 1))
    distances = [
        np.abs(last(variations(denoise, x0, SCHEDULE, eta=eta, steps=200)) - x0).mean()
        for eta in (0.0, 0.1, 0.3, 1.0)
    ]
    assert distances[0] < 0.02
    assert distances == sorted(distances)
    assert distances[-1] > 0.2


# Refusals

FLAT, FIRST = np.zeros((3, 2)), np.array([True, False])


def edited(x0=FLAT, **how):
    return sdedit(denoise, x0, SCHEDULE, **{"strength": 0.5, **how})


def painted(x0=FLAT, known=FIRST, **how):
    return inpaint(denoise, x0, known, SCHEDULE, **how)


def between(first=FLAT, second=FLAT, weights=(0.5,), **how):
    return next(interpolate(denoise, first, second, SCHEDULE, weights=weights, **how))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: edited(strength=0), ValueError, r"strength: .*\(0, 1\], got 0"),
        (lambda: edited(strength=1.01), ValueError, "strength: "),
        (lambda: edited(strength=np.nan), ValueError, "strength: "),
        (lambda: edited(FLAT + 1.1), ValueError, r"x0: expected values in \[−1, 1\], got 1.1"),
        (lambda: edited(FLAT * np.nan), ValueError, "x0: .*nan"),
        (lambda: edited(FLAT.astype(np.uint8)), TypeError, "uint8"),
        (lambda: next(edited(steps=0)), ValueError, "steps: "),
        (lambda: painted(FLAT + 255), ValueError, "x0: .*got 255"),
        (
            lambda: painted(known=np.ones((3, 3), bool)),
            ValueError,
            r"known: .*\(3, 2\), got \(3, 3\)",
        ),
        (lambda: painted(known=np.ones((1, 3, 2), bool)), ValueError, "known: "),
        (lambda: painted(known=np.ones(2)), TypeError, "known: expected booleans, got float64"),
        (lambda: painted(jump=0), ValueError, "jump: "),
        (lambda: painted(resamplings=0), ValueError, "resamplings: "),
        (lambda: painted(steps=1001), ValueError, "steps: .*1001"),
        (lambda: between(FLAT - 2), ValueError, "first: .*-2"),
        (lambda: between(second=FLAT + 2), ValueError, "second: .*2"),
        (lambda: between(second=FLAT[:2]), ValueError, r"second: .*\(2, 2\)"),
        (lambda: between(weights=[0, 1.5]), ValueError, "weights: .*1.5"),
        (lambda: next(variations(denoise, FLAT, SCHEDULE, eta=2)), ValueError, "eta: "),
        (lambda: variations(denoise, FLAT + 2, SCHEDULE, eta=0), ValueError, "x0: "),
        (lambda: SCHEDULE.until(1000), ValueError, "t: expected a step in 0 … 999, got 1000"),
        (lambda: SCHEDULE.until(-1), ValueError, "t: "),
        (lambda: SCHEDULE.until(2.5), ValueError, "t: .*got 2.5"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()
