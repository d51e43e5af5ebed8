"""All samplers, and DDPM and DDIM in detail, against data whose ideal denoiser is known."""

import numpy as np
import pytest
from ideal import gaussian, last, noise, points

import tinydiff
from tinydiff.backend import to_numpy
from tinydiff.diffusion import (
    NoiseSchedule,
    invert_ddim,
    sample_ddim,
    sample_ddpm,
    sample_predictor_corrector,
)
from tinydiff.diffusion.samplers import SAMPLERS

LINEAR, COSINE = NoiseSchedule.linear(), NoiseSchedule.cosine()
EVERY = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
BOTH = pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])


# Exact answers


@pytest.mark.parametrize("variance", [0.25, 0.04])
@pytest.mark.parametrize(
    "schedule",
    [NoiseSchedule.linear(4096, 0.1 / 4096, 20 / 4096), NoiseSchedule.cosine(4096)],
    ids=["linear", "cosine"],
)
def test_ddim_converges_to_first_order_on_gaussian_data(schedule, variance):
    """The probability-flow ODE maps x_T to x_T √(v / (ᾱ_T v + 1 − ᾱ_T)); DDIM is Euler on it.

    T and the numbers of steps are powers of two: every stride is equal, and the denoiser is asked
    at exactly the noise levels of the schedule.
    """
    x_T, signal = noise(6), schedule.alphas_cumprod[-1]
    exact = to_numpy(x_T) * np.sqrt(variance / (signal * variance + 1 - signal))
    denoise = gaussian(schedule, variance)
    errors = [
        np.abs(last(sample_ddim(denoise, x_T, schedule, steps=steps, clip=False)) / exact - 1).max()
        for steps in (64, 128, 256, 512)
    ]
    ratios = np.divide(errors[:-1], errors[1:])
    assert errors[-1] < 0.02
    assert np.all(np.abs(ratios - 2) < 0.1), ratios


@BOTH
@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize("clip", [True, False])
@EVERY
def test_a_point_mass_is_returned_exactly(sampler, clip, steps, schedule):
    """A published NumPy DDIM returns 0.680 ± 0.031 here: its ε has the wrong sign."""
    x = last(sampler(points(schedule, [0.7], [1]), noise(8, 1), schedule, steps=steps, clip=clip))
    # In one step, cosine's α' = 1 − β' = 2e-9 has lost half of float64's digits.
    np.testing.assert_allclose(x, 0.7, rtol=2e-8 if steps == 1 else 1e-11)


@BOTH
@pytest.mark.parametrize("sampler", [sample_ddpm, sample_ddim])
def test_a_point_mass_is_returned_exactly_in_all_steps(sampler, schedule):
    x = last(sampler(points(schedule, [0.7], [1]), noise(8, 1), schedule, steps=1000))
    np.testing.assert_allclose(x, 0.7, rtol=1e-11)


@BOTH
@EVERY
def test_a_finite_data_set_comes_back_in_its_proportions(sampler, schedule):
    places, shares = [-0.8, 0.1, 0.9], [0.2, 0.5, 0.3]
    denoise, rng = points(schedule, places, shares), np.random.default_rng(1)
    x = last(sampler(denoise, noise(4000, 1), schedule, steps=100, rng=rng))
    distance = np.abs(x - places)
    nearest = distance.argmin(axis=1)
    assert np.quantile(distance.min(axis=1), 0.99) < 1e-6
    np.testing.assert_allclose(np.bincount(nearest, minlength=3) / 4000, shares, atol=0.03)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_noise_keeps_proportions_too(eta):
    places, shares = [-0.8, 0.1, 0.9], [0.2, 0.5, 0.3]
    denoise, rng = points(COSINE, places, shares), np.random.default_rng(1)
    x = last(sample_ddim(denoise, noise(4000, 1), COSINE, steps=200, eta=eta, rng=rng))
    nearest = np.abs(x - places).argmin(axis=1)
    np.testing.assert_allclose(np.bincount(nearest, minlength=3) / 4000, shares, atol=0.03)


# The way back


@BOTH
def test_inversion_finds_the_noise_a_picture_was_made_of(schedule):
    """To first order in the number of steps, on Gaussian data; exactly, at a point mass' centre."""
    denoise, x_T = gaussian(schedule, 0.25), noise(6)
    errors = []
    for steps in (25, 50, 100, 200):
        picture = last(sample_ddim(denoise, x_T, schedule, steps=steps, clip=False))
        back = last(invert_ddim(denoise, picture, schedule, steps=steps))
        errors.append(np.abs(back / to_numpy(x_T) - 1).max())
    ratios = np.divide(errors[:-1], errors[1:])
    assert errors[0] < 0.2
    assert np.all(ratios > 1.8), (errors, ratios)


def test_inversion_finds_the_noise_of_the_ode():
    """What the probability-flow ODE makes of N(0, v) is known, in both directions."""
    variance, picture = 0.25, noise(6) * 0.5
    signal = LINEAR.alphas_cumprod[-1]
    exact = to_numpy(picture) * np.sqrt((signal * variance + 1 - signal) / variance)
    errors = [
        np.abs(last(invert_ddim(gaussian(LINEAR, variance), picture, LINEAR, steps=n)) / exact - 1)
        for n in (125, 250, 500)
    ]
    assert np.all(np.divide(errors[:-1], errors[1:]) > 1.7), errors


def test_inversion_asks_at_the_steps_it_goes_to():
    asked = []

    def denoise(x, t):
        asked.append(int(t[0]))
        return 0 * x

    film = list(invert_ddim(denoise, noise(3, 1), LINEAR, steps=5))
    assert asked == [199, 399, 599, 799, 999]
    assert len(film) == 5


# What a step does


@BOTH
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [9, 1000])
def test_ddim_with_eta_1_is_ddpm(schedule, clip, steps):
    settings = dict(steps=steps, clip=clip)
    denoise = points(schedule, [-0.9, 1.1], [0.5, 0.5])
    ddim = sample_ddim(
        denoise, noise(5, 1), schedule, eta=1.0, rng=np.random.default_rng(1), **settings
    )
    ddpm = sample_ddpm(denoise, noise(5, 1), schedule, rng=np.random.default_rng(1), **settings)
    for a, b in zip(ddim, ddpm, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-6, atol=1e-6)


@EVERY
def test_x0_is_clamped_to_the_range_of_pictures(sampler):
    beyond = points(COSINE, [3.0], [1])
    assert last(sampler(beyond, noise(4, 1), COSINE, steps=10, clip=False)) == pytest.approx(3)
    assert last(sampler(beyond, noise(4, 1), COSINE, steps=10)) == pytest.approx(1)


def test_ddim_takes_eps_along_when_it_clamps_x0():
    """x_t stays the sum of its two parts, so x_{t−1} is on the line from the clamped x_0 to x_t."""
    x_T, few = noise(4, 1), COSINE.respaced(10)
    x = to_numpy(next(sample_ddim(points(COSINE, [3.0], [1]), x_T, COSINE, steps=10)))
    signal, before = few.alphas_cumprod[-1], few.alphas_cumprod_prev[-1]
    eps = (to_numpy(x_T) - np.sqrt(signal) * 1) / np.sqrt(1 - signal)
    np.testing.assert_allclose(x, np.sqrt(before) * 1 + np.sqrt(1 - before) * eps, rtol=1e-9)


@pytest.mark.parametrize(
    ("sampler", "steps", "expected"),
    [
        (sample_ddpm, None, range(999, -1, -1)),
        (sample_ddpm, 5, [999, 799, 599, 399, 199]),
        (sample_ddim, 5, [999, 799, 599, 399, 199]),
        (sample_ddim, 1000, range(999, -1, -1)),
    ],
)
def test_the_network_is_asked_at_the_steps_it_was_trained_on(sampler, steps, expected):
    asked = []

    def denoise(x, t):
        assert t.shape == (3,) and t.dtype == np.int64 and len(set(t.tolist())) == 1
        asked.append(int(t[0]))
        return 0 * x

    film = list(sampler(denoise, noise(3, 1), LINEAR, steps=steps))
    assert asked == list(expected)
    assert len(film) == len(asked)


def test_ddim_takes_50_steps_unless_told_otherwise():
    assert len(list(sample_ddim(lambda x, t: x, noise(1, 1), LINEAR))) == 50


DETERMINISTIC = {"ddim", "euler", "heun", "dpm-solver", "ode", "flow"}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_seed_same_bits_and_same_dtype(name, dtype):
    x_T = noise(3, 4, 4, 1, dtype=dtype)
    before = to_numpy(x_T).copy()
    settings = {"eta": np.float64(0.5)} if name == "ddim" else {}

    def film(**generator):
        sampler = SAMPLERS[name](
            lambda x, t: 0.5 * x, x_T, COSINE, steps=20, **settings, **generator
        )
        frames = list(sampler)
        assert len(frames) == 20
        assert all(frame.dtype == dtype and frame.shape == x_T.shape for frame in frames)
        return np.stack([to_numpy(frame) for frame in frames])

    one, same, other = (film(rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.array_equal(one, other) == (name in DETERMINISTIC - {"ddim"})
    tinydiff.seed(1)
    one = film()
    tinydiff.seed(1)
    np.testing.assert_array_equal(one, film())
    np.testing.assert_array_equal(to_numpy(x_T), before)


@pytest.mark.parametrize("name", sorted(DETERMINISTIC))
def test_what_is_deterministic_draws_no_noise(name):
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    list(SAMPLERS[name](lambda x, t: x, noise(2, 1), COSINE, steps=5, rng=rng))
    assert rng.bit_generator.state == state


@EVERY
def test_a_film_keeps_its_frames(sampler):
    """A later step may not write into a frame that was yielded before."""
    frames, copies = [], []
    for x in sampler(gaussian(COSINE, 0.2), noise(3, 1), COSINE, steps=6):
        frames.append(x)
        copies.append(to_numpy(x).copy())
    np.testing.assert_array_equal(np.stack([to_numpy(x) for x in frames]), copies)


@pytest.mark.parametrize("name", SAMPLERS)
def test_evaluations_of_the_network(name):
    asked = []

    def denoise(x, t):
        assert t.shape == (3,) and len(set(t.tolist())) == 1
        asked.append(float(t[0]))
        return 0 * x

    list(SAMPLERS[name](denoise, noise(3, 1), LINEAR, steps=10))
    others = {"heun": 19, "predictor-corrector": 19, "ode": 20, "flow": 20}
    assert len(asked) == others.get(name, 10)
    assert min(asked) >= 0 and max(asked) <= 999


@EVERY
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps: .*got 0"),
        ({"steps": 2.5}, ValueError, "steps: .*got 2.5"),
        ({"x": np.zeros((2, 1), int)}, TypeError, "int64"),
        ({"denoise": lambda x, t: x[:1]}, ValueError, "eps: "),
        ({"denoise": lambda x, t: x.astype(np.float32)}, ValueError, "eps: .*float32"),
    ],
    ids=["no steps", "half steps", "bytes", "fewer pictures", "float32"],
)
def test_every_sampler_refuses(sampler, settings, error, message):
    given = {"denoise": lambda x, t: x, "x": np.zeros((2, 1)), "steps": 3, **settings}
    with pytest.raises(error, match=message):
        next(sampler(given["denoise"], given["x"], LINEAR, steps=given["steps"]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: sample_ddim(lambda x, t: x, x, LINEAR, eta=1.5), ValueError, "eta: .*1.5"),
        (lambda x: sample_ddim(lambda x, t: x, x, LINEAR, eta=-0.1), ValueError, "eta: .*-0.1"),
        (lambda x: sample_ddim(lambda x, t: x, x, LINEAR, steps=1001), ValueError, "steps: .*1001"),
        (lambda x: sample_ddpm(lambda x, t: x, x, LINEAR, steps=1001), ValueError, "steps: .*1001"),
        (lambda x: sample_ddpm(lambda x, t: x, x, LINEAR, variance="big"), ValueError, "'big'"),
        (
            lambda x: sample_ddpm(lambda x, t: x, x, LINEAR, variance="learned"),
            TypeError,
            "has no with_variance",
        ),
        (
            lambda x: sample_predictor_corrector(lambda x, t: x, x, LINEAR, steps=1001),
            ValueError,
            "steps: .*1001",
        ),
        (
            lambda x: sample_predictor_corrector(lambda x, t: x, x, LINEAR, r=0),
            ValueError,
            "r: .*got 0",
        ),
        (
            lambda x: sample_predictor_corrector(lambda x, t: x, x, LINEAR, corrections=-1),
            ValueError,
            "corrections: .*got -1",
        ),
        (lambda x: invert_ddim(lambda x, t: x, x, LINEAR, steps=1001), ValueError, "steps: .*1001"),
        (lambda x: invert_ddim(lambda x, t: x, x.astype(int), LINEAR), TypeError, "int64"),
        (lambda x: invert_ddim(lambda x, t: x[:1], x, LINEAR), ValueError, "eps: "),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        next(call(np.zeros((2, 1))))
