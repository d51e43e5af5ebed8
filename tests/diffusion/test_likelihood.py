"""The variational bound against closed forms: Gaussian bytes and the best linear network."""

import math

import numpy as np
import pytest

import tinydiff
from tinydiff import Tensor, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule
from tinydiff.diffusion.likelihood import (
    bits_per_dim,
    bound_bits,
    estimated_bound,
    every_bound,
    prior_bits,
)

LEVELS = np.linspace(-1, 1, 256)
SPREAD = 0.25


def normal_distribution(z):
    return 0.5 * np.array([math.erfc(-v / math.sqrt(2)) for v in np.ravel(z)]).reshape(np.shape(z))


def in_bins(mean, scale):
    """The mass a Gaussian gives each of the 256 levels, (..., 256), by erfc."""
    ends = np.concatenate([[-np.inf], LEVELS[:-1] + 1 / 255, [np.inf]])
    return np.diff(normal_distribution((ends - np.reshape(mean, (-1, 1))) / scale), axis=1)


SHARES = in_bins(0.0, SPREAD)[0]  # of the bytes: a Gaussian, rounded
ENTROPY = -(SHARES[SHARES > 0] * np.log2(SHARES[SHARES > 0])).sum()
SQUARE = (SHARES * LEVELS**2).sum()


def bytes_of(count, rng, shape=(1,)):
    return asarray(rng.choice(LEVELS, (count, *shape), p=SHARES))


def gain(schedule):
    """x_0 is guessed as gain · x_t: for Gaussian data the best there is."""
    a = schedule.alphas_cumprod
    return np.sqrt(a) * SQUARE / (a * SQUARE + 1 - a)


def linear_network(schedule):
    """The guess, of x0, and no variance."""
    return lambda x, t, cond: x * asarray(gain(schedule)[t][:, None], x.dtype)


def variances(schedule, kind):
    """σ_t² of p(x_{t−1} | x_t), (T,).  "ideal" is that of x_{t−1} itself, given x_t: what β̃_t
    leaves out is that x_0 is not known, Var(x_0 | x_t)."""
    posterior, a = schedule.posterior_variance, schedule.alphas_cumprod
    if kind == "ideal":
        unknown = SQUARE * (1 - a) / (a * SQUARE + 1 - a)
        return posterior + schedule.posterior_mean_coef1**2 * unknown
    return np.append(posterior[1], posterior[1:] if kind == "posterior" else schedule.betas[1:])


def closed_form(schedule, kind):
    """What bound_bits is on average at every t, (T,): integrals done by hand, or on a grid."""
    a, k, sigma2 = schedule.alphas_cumprod, gain(schedule), variances(schedule, kind)
    error = (1 - k * np.sqrt(a)) ** 2 * SQUARE + k**2 * (1 - a)  # E (x_0 − k x_t)²
    ratio = schedule.posterior_variance[1:] / sigma2[1:]
    nats = 0.5 * (ratio - 1 - np.log(ratio))
    nats += schedule.posterior_mean_coef1[1:] ** 2 * error[1:] / (2 * sigma2[1:])
    # L_0: an average over all bytes, and over the noise in x_1.
    eps = np.linspace(-6, 6, 401)
    weight = np.exp(-(eps**2) / 2) / np.exp(-(eps**2) / 2).sum()
    scale, first = math.sqrt(sigma2[0]), 0.0
    for i in np.flatnonzero(SHARES > 1e-9):
        guess = k[0] * (math.sqrt(a[0]) * LEVELS[i] + math.sqrt(1 - a[0]) * eps)
        sign = np.where(LEVELS[i] > guess, -1, 1)  # on the side where the mass is small and exact
        ends = (LEVELS[i] - guess + sign / 255) / scale, (LEVELS[i] - guess - sign / 255) / scale
        mass = normal_distribution(sign * ends[0]) - normal_distribution(sign * ends[1])
        first -= SHARES[i] * (weight * np.log(mass)).sum()
    return np.append(first, nats) / math.log(2)


def closed_form_total(schedule, kind):
    a = schedule.alphas_cumprod[-1]
    prior = 0.5 * (a * SQUARE - a - math.log1p(-a)) / math.log(2)
    return prior + closed_form(schedule, kind).sum()


def learning_network(schedule, log_variance):
    """A network that guesses as above and has learned the variance exp(log_variance[t])."""
    low = schedule.posterior_log_variance_clipped
    share = (log_variance - low) / (np.log(schedule.betas) - low)

    def model(x, t, cond):
        column = lambda numbers: asarray(numbers[t][:, None], x.dtype)
        return ops.concat([x * column(gain(schedule)), 0 * x + column(2 * share - 1)])

    return model, GaussianDiffusion(schedule, "x0", learned_variance=True)


def fine(T):
    return NoiseSchedule.linear(T, 0.1 / T, min(20 / T, 0.9))


VARIANCES = pytest.mark.parametrize("variance", ["posterior", "beta"])


# Term by term


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prior_of_white_pictures_is_the_golden_number(dtype):
    """improved-diffusion says 2.911236e-05 for x_0 = 1 everywhere.  Its coefficients are float32,
    where −1 − ln(1−ᾱ) + (1−ᾱ) vanishes: ½ ᾱ/ln 2 is left.  In full, ½ −ln(1−ᾱ)/ln 2."""
    schedule = NoiseSchedule.linear()
    got = prior_bits(schedule, asarray(np.ones((2, 4, 4, 3), dtype)))
    assert got.shape == (2,) and got.dtype == np.float64
    assert 0.5 * schedule.alphas_cumprod[-1] / math.log(2) == pytest.approx(2.911236e-05, rel=2e-7)
    np.testing.assert_allclose(got, 2.911236e-05, rtol=3e-5)
    np.testing.assert_allclose(got, 2.9112945e-05, rtol=2e-8)


def test_prior_is_the_divergence_from_white_noise():
    schedule = NoiseSchedule.linear(20)
    x0, a = np.random.default_rng(0).uniform(-1, 1, (3, 5)), schedule.alphas_cumprod[-1]
    kl = ops.kl_diagonal_gaussians(
        Tensor(asarray(math.sqrt(a) * x0)), math.log(1 - a), 0.0, 0.0, reduction="none"
    ).numpy()
    got = prior_bits(schedule, asarray(x0))
    np.testing.assert_allclose(got, kl.sum(axis=1) / (5 * math.log(2)), rtol=1e-12)
    np.testing.assert_allclose(got, bits_per_dim(kl.sum(axis=1), 5), rtol=1e-12)


@VARIANCES
@pytest.mark.parametrize("schedule", [fine(10), NoiseSchedule.cosine(1000)], ids=["10", "1000"])
def test_every_term_is_its_closed_form(schedule, variance):
    rng, diffusion = np.random.default_rng(0), GaussianDiffusion(schedule, "x0")
    expected = closed_form(schedule, variance)
    for t in sorted({0, 1, 2, 5, schedule.T // 2, schedule.T - 1}):
        x0 = bytes_of(20_000, rng)
        settings = dict(variance=variance, clip=False, rng=rng)
        got = to_numpy(
            bound_bits(linear_network(schedule), diffusion, x0, np.full(20_000, t), **settings)
        )
        error = got.std() / math.sqrt(20_000)
        assert got.shape == (20_000,)
        assert abs(got.mean() - expected[t]) < 4 * error + 1e-12, (
            t,
            got.mean(),
            expected[t],
            error,
        )
        assert error < 0.02 * expected[t]


def test_every_picture_has_its_own_t():
    schedule = NoiseSchedule.cosine(50)
    x0, t = bytes_of(4, np.random.default_rng(0), (6,)), np.array([49, 0, 7, 0])
    arguments = linear_network(schedule), GaussianDiffusion(schedule, "x0")
    together = bound_bits(*arguments, x0, t, rng=np.random.default_rng(1))
    for i in range(4):
        rng = np.random.default_rng(1)
        rng.standard_normal((i, 6))
        alone = bound_bits(*arguments, x0[i : i + 1], t[i : i + 1], rng=rng)
        assert float(together[i]) == pytest.approx(float(alone[0]), rel=1e-12)


# All together


@VARIANCES
def test_the_fixed_variances_cost_a_gap_above_the_entropy(variance):
    gaps = [closed_form_total(fine(T), variance) - ENTROPY for T in (10, 100, 1000)]
    assert 3 > gaps[0] > gaps[1] and min(gaps) > 0.05, gaps


@pytest.mark.parametrize("T", [5, 50])
def test_with_the_ideal_variance_the_bound_is_the_entropy(T):
    """Gaussian data goes back by Gaussian steps, however large: nothing is lost but L_T."""
    schedule, rng = fine(T), np.random.default_rng(0)
    ideal = closed_form_total(schedule, "ideal")
    assert abs(ideal - prior_bits(schedule, bytes_of(5000, rng)).mean() - ENTROPY) < 2e-3
    model, diffusion = learning_network(schedule, np.log(variances(schedule, "ideal")))
    x0 = bytes_of(20_000, rng)
    terms = [to_numpy(b) for _, b in every_bound(model, diffusion, x0, clip=False, rng=rng)]
    total = prior_bits(schedule, x0) + sum(terms)
    error = total.std() / math.sqrt(len(x0))
    assert abs(total.mean() - ideal) < 4 * error < 0.2
    np.testing.assert_allclose(
        [b.mean() for b in terms], closed_form(schedule, "ideal")[::-1], rtol=0.1
    )


@VARIANCES
def test_full_sum_and_estimate_are_the_closed_form_within_their_error(variance):
    schedule, rng = fine(100), np.random.default_rng(0)
    model, diffusion = linear_network(schedule), GaussianDiffusion(schedule, "x0")
    x0, known = bytes_of(2000, rng), closed_form_total(schedule, variance)
    prior = prior_bits(schedule, x0)
    settings = dict(variance=variance, clip=False, rng=rng)
    terms = list(every_bound(model, diffusion, x0, **settings))
    assert [t for t, _ in terms] == list(range(99, -1, -1))
    total = prior + sum(to_numpy(bits) for _, bits in terms)
    estimates = estimated_bound(model, diffusion, x0, draws=10, **settings)
    assert estimates.shape == (2000, 10)
    for bits in (total, estimates):
        error = bits.std() / math.sqrt(bits.size)
        assert abs(bits.mean() - known) < 4 * error, (bits.mean(), known, error)
        assert error < 0.06 * known


def test_the_error_of_an_estimate_is_what_it_says():
    schedule = fine(5)
    model, diffusion = linear_network(schedule), GaussianDiffusion(schedule, "x0")
    rng, z = np.random.default_rng(0), []
    known = closed_form_total(schedule, "posterior")
    for _ in range(60):
        bits = estimated_bound(model, diffusion, bytes_of(500, rng), clip=False, rng=rng)
        z.append((bits.mean() - known) / (bits.std(ddof=1) / math.sqrt(500)))
    assert 0.75 < np.sqrt(np.mean(np.square(z))) < 1.3, z
    assert abs(np.mean(z)) < 4 / math.sqrt(60)


# What else matters


def test_a_learned_variance_at_its_ends_is_a_fixed_one():
    schedule, t = fine(20), np.arange(1, 9)
    x0 = bytes_of(8, np.random.default_rng(0))
    low, high = schedule.posterior_log_variance_clipped, np.log(schedule.betas)
    plain = linear_network(schedule), GaussianDiffusion(schedule, "x0")
    for end, variance in ((low, "posterior"), (high, "beta")):
        got = bound_bits(*learning_network(schedule, end), x0, t, rng=np.random.default_rng(1))
        rng = np.random.default_rng(1)
        expected = bound_bits(*plain, x0, t, variance=variance, rng=rng)
        np.testing.assert_allclose(to_numpy(got), to_numpy(expected), rtol=1e-9)


def test_x0_is_clamped_unless_told_otherwise():
    beyond = lambda x, t, cond: 0 * x + 1.5
    diffusion, x0 = GaussianDiffusion(fine(20), "x0"), asarray(np.ones((3, 2)))
    clamped, free = (
        bound_bits(beyond, diffusion, x0, np.full(3, 5), clip=c) for c in (True, False)
    )
    assert to_numpy(clamped).max() < 1e-9 < 0.1 < to_numpy(free).min()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_dtype_and_seed(dtype):
    seen = []

    def model(x, t, cond):
        assert x.dtype == dtype
        seen.append(cond.tolist())
        return x * 0.5

    model.num_classes = 7
    diffusion, x0 = GaussianDiffusion(fine(5), "v"), asarray(np.full((3, 2), LEVELS[80], dtype))
    for cond, told in ((np.array([4, 0, 7]), [4, 0, 7]), (None, [7, 7, 7])):
        tinydiff.seed(1)
        one = estimated_bound(model, diffusion, x0, cond, draws=2)
        tinydiff.seed(1)
        np.testing.assert_array_equal(one, estimated_bound(model, diffusion, x0, cond, draws=2))
        assert one.dtype == np.float64
        assert all(labels == told for labels in seen)
        seen.clear()
    bits = bound_bits(model, diffusion, x0, np.array([0, 1, 2]))
    assert bits.dtype == dtype


def test_fewer_steps_ask_the_network_by_its_own_numbers():
    asked, x0 = [], asarray(np.zeros((1, 2)))

    def model(x, t, cond):
        asked.append(int(t[0]))
        return x

    few = GaussianDiffusion(NoiseSchedule.cosine(1000).respaced(4))
    assert len(list(every_bound(model, few, x0))) == 4
    assert asked == [999, 749, 499, 249]


X, T = np.zeros((2, 3)), np.zeros(2, int)
MODEL = lambda x, t, cond: x


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(x0=X.astype(int)), TypeError, "int64"),
        (dict(t=T + 10), ValueError, "t: .*0 … 9, got 10"),
        (dict(t=T + 0.5), ValueError, "t: expected 2 integers"),
        (dict(variance="large"), ValueError, "variance: .*'large'"),
        (dict(cond=T), ValueError, "unconditional"),
        (dict(model=lambda x, t, cond: x[:1]), ValueError, r"model: .*\(2, 3\), got \(1, 3\)"),
    ],
)
def test_refuses(given, error, message):
    diffusion = GaussianDiffusion(NoiseSchedule.linear(10))
    settings = dict(model=MODEL, diffusion=diffusion, x0=X, t=T) | given
    with pytest.raises(error, match=message):
        bound_bits(**settings | {"x0": asarray(settings["x0"])})


def test_refuses_no_draws():
    with pytest.raises(ValueError, match=r"draws: .*0"):
        estimated_bound(MODEL, GaussianDiffusion(NoiseSchedule.linear(10)), asarray(X), draws=0)
