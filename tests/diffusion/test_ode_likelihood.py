"""The likelihood by the probability-flow ODE, where the density is known in closed form."""

import math

import numpy as np
import pytest

import tinydiff
from tinydiff import Tensor, models
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule
from tinydiff.diffusion.mixture import GaussianMixture
from tinydiff.diffusion.ode_likelihood import bits_of_bytes, dequantised, ode_log_likelihood

SCHEDULES = [NoiseSchedule.linear(), NoiseSchedule.cosine()]
BOTH = pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "cosine"])


def ideal(mixture, schedule, prediction):
    """The ideal network of a mixture, in terms of what ``prediction`` says it predicts."""
    eps_of, diffusion = mixture.ideal_network(schedule), GaussianDiffusion(schedule, prediction)

    def model(x, t, cond):
        eps = eps_of(x, t)
        if prediction == "eps":
            return eps
        signal, sigma = (asarray(a[:, None]) for a in schedule.signal_and_sigma(t))
        return (eps - x * sigma) / signal  # v

    return model, diffusion


def at_t0(mixture, schedule, count, seed):
    """Points of the mixture with the noise of t = 0, their log-density, and a generator."""
    rng = np.random.default_rng(seed)
    signal, sigma = schedule.signal_and_sigma(0)
    x0 = to_numpy(mixture.sample(count, rng=rng))
    x = asarray(signal * x0 + sigma * rng.standard_normal(x0.shape))
    return x, to_numpy(mixture.log_density(x, signal, sigma)), rng


@BOTH
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_gaussian_data_to_the_tolerance(schedule, prediction):
    """With V_t = ᾱ_t v + 1 − ᾱ_t, x_T = x √(V_T/V_0).  The Jacobian is diagonal: signs know it."""
    v = np.array([0.04, 0.5, 2.0])
    model, diffusion = ideal(
        GaussianMixture([1], [[0.0] * 3], np.sqrt(v)[None]), schedule, prediction
    )
    x, exact, rng = at_t0(GaussianMixture([1], [[0.0] * 3], np.sqrt(v)[None]), schedule, 6, 0)
    first, last = (a * v + 1 - a for a in schedule.alphas_cumprod[[0, -1]])
    x_T = to_numpy(x) * np.sqrt(last / first)
    by_hand = (-0.5 * x_T**2 - 0.5 * math.log(2 * math.pi) + 0.5 * np.log(last / first)).sum(axis=1)
    errors = []
    for tolerance in (1e-4, 1e-8):
        got = ode_log_likelihood(
            model, diffusion, x, probes=2, rtol=tolerance, atol=tolerance, rng=rng
        )
        assert got.shape == (6, 2) and got.dtype == np.float64
        np.testing.assert_allclose(got[:, 0], got[:, 1], rtol=1e-12)
        errors.append(np.abs(got[:, 0] - by_hand).max())
    assert errors[0] < 1e-2 and errors[1] < 1e-6 and errors[0] > 20 * errors[1]
    np.testing.assert_allclose(got[:, 0], exact, atol=2e-3)  # x_T is not quite white noise


@BOTH
def test_gaussian_data_gives_its_entropy(schedule):
    """E[−log p] = ½ ln(2πe V) a dimension."""
    mixture = GaussianMixture([1], [[0.2, -0.1]], 0.3)
    x, _, rng = at_t0(mixture, schedule, 2000, 1)
    model, diffusion = ideal(mixture, schedule, "eps")
    got = -ode_log_likelihood(model, diffusion, x, rng=rng)[:, 0]
    signal = schedule.alphas_cumprod[0]
    entropy = math.log(2 * math.pi * math.e * (signal * 0.09 + 1 - signal))
    assert abs(got.mean() - entropy) < 4 * got.std() / math.sqrt(2000)
    assert got.std() / math.sqrt(2000) < 0.03


@BOTH
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_a_mixture_within_the_error_of_the_probes(schedule, prediction):
    """Point for point: the Jacobian is full, and the spread of the probes is the error."""
    means = np.random.default_rng(5).uniform(-0.9, 0.9, (3, 2))
    mixture = GaussianMixture([0.3, 0.5, 0.2], means, [0.1, 0.05, 0.2])
    model, diffusion = ideal(mixture, schedule, prediction)
    x, exact, rng = at_t0(mixture, schedule, 40, 2)
    got = ode_log_likelihood(model, diffusion, x, probes=100, rng=rng)
    error = got.std(axis=1, ddof=1) / 10
    assert 0.01 < error.mean() < 0.1
    z = (got.mean(axis=1) - exact) / (error + 2e-3)
    assert np.abs(z).max() < 4.5 and 0.6 < np.sqrt((z**2).mean()) < 1.3, z


def test_the_seed_decides():
    mixture = GaussianMixture([1, 1], [[0.0, 0.5], [0.4, -0.5]], 0.1)
    model, diffusion = ideal(mixture, SCHEDULES[1], "v")
    x, _, _ = at_t0(mixture, SCHEDULES[1], 5, 0)
    one, same, other = (
        ode_log_likelihood(model, diffusion, x, rng=np.random.default_rng(s)) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    tinydiff.seed(1)
    one = ode_log_likelihood(model, diffusion, x)
    tinydiff.seed(1)
    np.testing.assert_array_equal(one, ode_log_likelihood(model, diffusion, x))


def test_the_way_can_be_watched():
    mixture, seen = GaussianMixture([1], [[0.0] * 3], [[0.1] * 3]), []
    model, diffusion = ideal(mixture, SCHEDULES[0], "eps")
    x, _, _ = at_t0(mixture, SCHEDULES[0], 4, 0)
    ode_log_likelihood(model, diffusion, x, watch=seen.append)
    assert len(seen) > 3 and 0 < seen[0] < 0.9 and seen[-1] == 1
    assert all(np.diff(seen) > 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_network_sees_its_dtype_times_in_between_and_the_labels(dtype):
    seen = []

    def model(x, t, cond):
        assert x.dtype == dtype and x.shape == (3, 4, 4, 1) and t.shape == (3,)
        seen.append((t[0], cond.tolist()))
        return x * 0.5

    model.num_classes = 7
    diffusion, x = GaussianDiffusion(SCHEDULES[1], "v"), asarray(np.full((3, 4, 4, 1), 0.1, dtype))
    ode_log_likelihood(model, diffusion, x, np.array([4, 0, 7]))
    times = np.array([t for t, _ in seen])
    assert times.min() >= 0 and times.max() <= 999 and np.any(times % 1 > 0.01)
    assert times[0] == pytest.approx(0, abs=1e-6) and times[-1] == pytest.approx(999, abs=1e-6)
    assert all(labels == [4, 0, 7] for _, labels in seen)
    seen.clear()
    ode_log_likelihood(model, diffusion, x)
    assert all(labels == [7, 7, 7] for _, labels in seen)


def test_a_network_and_its_weights_are_left_alone():
    """The trace of a U-Net's Jacobian, written out by as many probes as there are pixels."""
    tinydiff.seed(0)
    net = models.UNet(
        1, base_channels=8, channel_mults=(1,), attention_levels=(), norm_groups=4, num_classes=2
    ).eval()
    for p in net.parameters():
        p.data = p.data + asarray(0.1 * np.random.default_rng(1).standard_normal(p.shape), p.dtype)
    schedule = NoiseSchedule.cosine(20)
    x = asarray(np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 1)).astype(np.float32))
    got = ode_log_likelihood(net, GaussianDiffusion(schedule, "v"), x, np.array([0, 1]), probes=3)
    assert np.isfinite(got).all() and got.std(axis=1).min() > 0
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    with tinydiff.no_grad():
        tinydiff.seed(0)
        again = ode_log_likelihood(net, GaussianDiffusion(schedule, "v"), x, probes=1)
    assert np.isfinite(again).all()


# Bytes as a density


def test_dequantised_bytes_fill_their_bins():
    x0 = asarray(np.repeat(np.linspace(-1, 1, 256), 200).reshape(-1, 4))
    moved = (to_numpy(dequantised(x0, rng=np.random.default_rng(0))) - to_numpy(x0)) * 255
    assert -1 <= moved.min() < -0.999 and 0.999 < moved.max() < 1
    assert abs(moved.mean()) < 4 / math.sqrt(3 * moved.size)
    assert moved.var() == pytest.approx(1 / 3, rel=0.02)


@BOTH
def test_gaussian_bytes_cost_their_entropy(schedule):
    """Bytes of N(0, v), dequantised: the cross-entropy with the density at t = 0, in closed form,
    and a hundredth of a bit above the bytes' own entropy, log₂(√(2πe v) · 255/2)."""
    rng, v = np.random.default_rng(0), 0.04
    mixture = GaussianMixture([1], [[0.0]], math.sqrt(v))
    x0 = np.rint((to_numpy(mixture.sample(3000, rng=rng)) + 1) * 127.5) / 127.5 - 1
    x = dequantised(asarray(x0), rng=rng)
    model, diffusion = ideal(mixture, schedule, "v")
    bits = bits_of_bytes(ode_log_likelihood(model, diffusion, x, rng=rng)[:, 0], 1)
    signal = schedule.alphas_cumprod[0]
    density = signal * v + 1 - signal
    square = v + 2 * (2 / 255) ** 2 / 12  # rounded, and dequantised
    known = (0.5 * math.log(2 * math.pi * density) + square / (2 * density)) / math.log(2)
    known -= math.log2(2 / 255)
    entropy = math.log2(math.sqrt(2 * math.pi * math.e * v) * 255 / 2)
    error = bits.std() / math.sqrt(3000)
    assert abs(bits.mean() - known) < 4 * error + 2e-3
    assert abs(bits.mean() - entropy) < 4 * error + 0.01
    assert error < 0.03


def test_eight_bits_for_bytes_of_which_nothing_is_known():
    """The density that is flat over all 256 bins is 255/512 everywhere."""
    assert bits_of_bytes(10 * math.log(255 / 512), 10) == pytest.approx(8, abs=1e-12)


X = np.zeros((2, 3))
MODEL = lambda x, t, cond: x


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(x=X.astype(int)), TypeError, "int64"),
        (dict(probes=0), ValueError, "probes: .*0"),
        (dict(atol=0), ValueError, "rtol, atol"),
        (dict(cond=np.zeros(2, int)), ValueError, "unconditional"),
        (dict(model=lambda x, t, cond: x[:, :2]), ValueError, r"model: .*\(2, 3\), got \(2, 2\)"),
        (dict(model=lambda x, t, cond: Tensor(X)), ValueError, "does not depend on any tensor"),
    ],
)
def test_refuses(given, error, message):
    settings = dict(model=MODEL, diffusion=GaussianDiffusion(SCHEDULES[0]), x=asarray(X)) | given
    with pytest.raises(error, match=message):
        ode_log_likelihood(**settings)
