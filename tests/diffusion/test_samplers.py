"""DDPM and DDIM against data whose ideal denoiser is known in closed form: no training."""

import numpy as np
import pytest

import tinydiff
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import NoiseSchedule, sample_ddim, sample_ddpm

LINEAR, COSINE = NoiseSchedule.linear(), NoiseSchedule.cosine()
BOTH = pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])


def noise(*shape, seed=0, dtype=np.float64):
    return asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def last(sampler):
    *_, x = sampler
    return to_numpy(x)


def gaussian(schedule, variance):
    """The ideal denoiser of x0 ~ N(0, variance)."""

    def denoise(x, t):
        signal = float(schedule.alphas_cumprod[t[0]])
        return np.sqrt(1 - signal).item() / (signal * variance + 1 - signal) * x

    return denoise


def points(schedule, places, shares):
    """The ideal denoiser of numbers that are places[k] with probability shares[k]; x is (N, 1)."""
    places, shares = asarray(places, np.float64), asarray(shares, np.float64)

    def denoise(x, t):
        signal = float(schedule.alphas_cumprod[t[0]])
        logits = xp.log(shares) - (x - signal**0.5 * places) ** 2 / (2 * (1 - signal))
        weights = xp.exp(logits - logits.max(axis=1, keepdims=True))
        mean = (weights * places).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
        return (x - signal**0.5 * mean) / (1 - signal) ** 0.5

    return denoise


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
@pytest.mark.parametrize("steps", [50, 1000])
def test_ddpm_gives_gaussian_data_the_spread_it_should(schedule, steps):
    """Every step is linear, so x stays Gaussian and its variance can be carried along by hand."""
    few, v, expected = schedule.respaced(steps), 0.09, 1.0
    for i in reversed(range(steps)):
        after, before = few.alphas_cumprod[i], few.alphas_cumprod_prev[i]
        beta = 1 - after / before
        guess = np.sqrt(after) * v / (after * v + 1 - after)  # E[x0 | x_t] = guess · x_t
        pull = np.sqrt(before) * beta * guess + np.sqrt(1 - beta) * (1 - before)
        expected = (pull / (1 - after)) ** 2 * expected + beta * (1 - before) / (1 - after)
    rng = np.random.default_rng(1)
    x_T = noise(20_000)
    x = last(sample_ddpm(gaussian(schedule, v), x_T, schedule, steps=steps, clip=False, rng=rng))
    assert abs(x.mean()) < 4 * np.sqrt(expected / len(x))
    assert abs(x.var() / expected - 1) < 4 * np.sqrt(2 / len(x))
    if steps == 1000:
        assert expected == pytest.approx(v, rel=0.04), "the smaller variance draws a little tight"


@BOTH
@pytest.mark.parametrize("steps", [1, 7, 50, 1000])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("sampler", [sample_ddpm, sample_ddim])
def test_a_point_mass_is_returned_exactly(sampler, clip, steps, schedule):
    """A published NumPy DDIM returns 0.680 ± 0.031 here: its ε has the wrong sign."""
    x = last(sampler(points(schedule, [0.7], [1]), noise(8, 1), schedule, steps=steps, clip=clip))
    # In one step, cosine's α' = 1 − β' = 2e-9 has lost half of float64's digits.
    np.testing.assert_allclose(x, 0.7, rtol=2e-8 if steps == 1 else 1e-11)


@BOTH
@pytest.mark.parametrize(
    ("sampler", "settings"),
    [(sample_ddpm, {}), (sample_ddim, {}), (sample_ddim, {"eta": 1.0})],
    ids=["ddpm", "ddim", "ddim, eta 1"],
)
def test_a_finite_data_set_comes_back_in_its_proportions(sampler, settings, schedule):
    places, shares = [-0.8, 0.1, 0.9], [0.2, 0.5, 0.3]
    denoise, rng = points(schedule, places, shares), np.random.default_rng(1)
    x = last(sampler(denoise, noise(4000, 1), schedule, steps=200, rng=rng, **settings))
    distance = np.abs(x - places)
    nearest = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1e-6
    np.testing.assert_allclose(np.bincount(nearest, minlength=3) / 4000, shares, atol=0.03)


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


@pytest.mark.parametrize("sampler", [sample_ddpm, sample_ddim])
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


@pytest.mark.parametrize(
    ("sampler", "settings"),
    [(sample_ddpm, {"steps": 20}), (sample_ddim, {"steps": 20, "eta": np.float64(0.5)})],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_seed_same_bits_and_same_dtype(sampler, settings, dtype):
    x_T = noise(3, 4, 4, 1, dtype=dtype)
    before = to_numpy(x_T).copy()

    def film(**generator):
        frames = list(sampler(lambda x, t: 0.5 * x, x_T, COSINE, **settings, **generator))
        assert all(frame.dtype == dtype and frame.shape == x_T.shape for frame in frames)
        return np.stack([to_numpy(frame) for frame in frames])

    one, same, other = (film(rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    tinydiff.seed(1)
    one = film()
    tinydiff.seed(1)
    np.testing.assert_array_equal(one, film())
    np.testing.assert_array_equal(to_numpy(x_T), before)


def test_plain_ddim_draws_no_noise():
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    list(sample_ddim(lambda x, t: x, noise(2, 1), COSINE, steps=5, rng=rng))
    assert rng.bit_generator.state == state


def test_a_film_keeps_its_frames():
    """A later step may not write into a frame that was yielded before."""
    for sampler in (sample_ddpm, sample_ddim):
        frames, copies = [], []
        for x in sampler(gaussian(COSINE, 0.2), noise(3, 1), COSINE, steps=6):
            frames.append(x)
            copies.append(to_numpy(x).copy())
        np.testing.assert_array_equal(np.stack([to_numpy(x) for x in frames]), copies)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: sample_ddim(lambda x, t: x, x, LINEAR, eta=1.5), ValueError, "eta: .*1.5"),
        (lambda x: sample_ddim(lambda x, t: x, x, LINEAR, steps=0), ValueError, "steps: .*got 0"),
        (lambda x: sample_ddpm(lambda x, t: x, x, LINEAR, steps=1001), ValueError, "steps: .*1001"),
        (lambda x: sample_ddpm(lambda x, t: x, x.astype(int), LINEAR), TypeError, "int64"),
        (lambda x: sample_ddim(lambda x, t: x[:1], x, LINEAR), ValueError, "eps: "),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        next(call(np.zeros((2, 1))))
