"""GaussianDiffusion: closed forms, conversions, and what Algorithm 1 shows the network."""

import numpy as np
import pytest

import tinydiff
from tinydiff import Tensor, backend
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule

SCHEDULES = [NoiseSchedule.linear(), NoiseSchedule.cosine()]
BOTH = pytest.mark.parametrize("schedule", SCHEDULES, ids=["linear", "cosine"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def pictures(n, *, seed, dtype=np.float64, shape=(2, 3, 1)):
    return asarray(np.random.default_rng(seed).uniform(-1, 1, (n, *shape)).astype(dtype))


def close(got, expected, tolerance):
    np.testing.assert_allclose(to_numpy(got), to_numpy(expected), rtol=tolerance, atol=tolerance)


class Recorder:
    """A model that keeps what it was shown and answers zeros."""

    def __init__(self, num_classes=None):
        self.num_classes = num_classes
        self.calls = []

    def __call__(self, x, t, cond):
        self.calls.append((to_numpy(x.data), to_numpy(t), None if cond is None else to_numpy(cond)))
        return Tensor(xp.zeros_like(x.data))


# The forward process


@BOTH
def test_q_sample_has_the_kernels_mean_and_variance(schedule):
    t = np.array([0, 17, 500, 999])
    x0, zeros = xp.ones((4, 5, 5, 1)), xp.zeros((4, 5, 5, 1))
    diffusion = GaussianDiffusion(schedule)
    close(diffusion.q_sample(x0, t, zeros)[:, 0, 0, 0] ** 2, schedule.alphas_cumprod[t], 1e-12)
    close(diffusion.q_sample(zeros, t, x0)[:, 0, 0, 0] ** 2, 1 - schedule.alphas_cumprod[t], 1e-12)


def test_q_sample_is_the_chain_of_single_steps_in_distribution():
    """20,000 pixels led through q(x_t | x_{t−1}): mean and spread are the jump's."""
    schedule = NoiseSchedule.cosine(20)
    rng = np.random.default_rng(0)
    x = np.full(20_000, 0.7)
    for t, beta in enumerate(schedule.betas):
        x = np.sqrt(1 - beta) * x + np.sqrt(beta) * rng.standard_normal(x.shape)
        signal = schedule.alphas_cumprod[t]
        error = np.sqrt((1 - signal) / len(x))
        assert abs(x.mean() - 0.7 * np.sqrt(signal)) < 4 * error
        assert abs(x.var() / (1 - signal) - 1) < 4 * np.sqrt(2 / len(x))


@BOTH
def test_q_posterior_is_bayes_rule(schedule):
    """log q(x_t | y) + log q(y | x_0), as a function of y, has its peak at the mean and its
    curvature there is minus one over the variance."""
    t = np.array([1, 2, 100, 999])
    x0, x_t = pictures(4, seed=0), pictures(4, seed=1)
    mean, variance, log_variance = (
        to_numpy(a) for a in GaussianDiffusion(schedule).q_posterior(x0, x_t, t)
    )
    assert mean.shape == x0.shape and variance.shape == log_variance.shape == (4, 1, 1, 1)

    beta, before = (
        a[t].reshape(4, 1, 1, 1) for a in (schedule.betas, schedule.alphas_cumprod_prev)
    )
    slope = np.sqrt(1 - beta) * (to_numpy(x_t) - np.sqrt(1 - beta) * mean) / beta - (
        mean - np.sqrt(before) * to_numpy(x0)
    ) / (1 - before)
    np.testing.assert_allclose(slope * variance, 0, atol=1e-11)
    np.testing.assert_allclose(1 / variance, (1 - beta) / beta + 1 / (1 - before), rtol=1e-9)
    np.testing.assert_allclose(np.exp(log_variance), variance, rtol=1e-12)


@BOTH
def test_q_posterior_of_the_first_step_is_x0(schedule):
    x0, x_t = pictures(2, seed=0), pictures(2, seed=1)
    mean, variance, log_variance = GaussianDiffusion(schedule).q_posterior(
        x0, x_t, np.zeros(2, int)
    )
    close(mean, x0, 1e-11)
    close(variance, np.zeros((2, 1, 1, 1)), 0)
    close(
        np.exp(to_numpy(log_variance)), np.full((2, 1, 1, 1), schedule.posterior_variance[1]), 1e-12
    )


# ε, v and x0


@BOTH
@DTYPES
def test_eps_v_and_x0_are_one_rotation(schedule, dtype):
    diffusion = GaussianDiffusion(schedule, "v")
    t = np.array([0, 1, 250, 500, 998, 999])
    x0, eps = pictures(6, seed=0, dtype=dtype), pictures(6, seed=1, dtype=dtype)
    x_t, v = diffusion.q_sample(x0, t, eps), diffusion.target(x0, t, eps)
    rounding = 4 * np.finfo(dtype).eps

    close(diffusion.to_x0(x_t, t, v), x0, rounding)
    close(diffusion.to_eps(x_t, t, v), eps, rounding)
    close(x_t**2 + v**2, x0**2 + eps**2, 2 * rounding)

    # Dividing by a small √ᾱ (or √(1−ᾱ)) magnifies the rounding of x_t, and no more than that.
    signal = schedule.sqrt_alphas_cumprod[t].reshape(6, 1, 1, 1)
    sigma = schedule.sqrt_one_minus_alphas_cumprod[t].reshape(6, 1, 1, 1)
    close((diffusion.predict_x0(x_t, t, eps) - x0) * asarray(signal, dtype), 0 * x0, rounding)
    close((diffusion.predict_eps(x_t, t, x0) - eps) * asarray(sigma, dtype), 0 * x0, rounding)


@DTYPES
def test_every_result_keeps_the_dtype(dtype):
    diffusion = GaussianDiffusion(NoiseSchedule.cosine(), "v")
    x, y, t = pictures(3, seed=0, dtype=dtype), pictures(3, seed=1, dtype=dtype), np.arange(3)
    for method in ("q_sample", "target", "to_x0", "to_eps", "predict_x0", "predict_eps"):
        assert getattr(diffusion, method)(x, t, y).dtype == dtype, method
    assert all(a.dtype == dtype for a in diffusion.q_posterior(x, y, t))
    for weighting in ("simple", "min_snr"):
        assert diffusion.training_loss(Recorder(), x, weighting=weighting).dtype == dtype


@DTYPES
def test_coefficients_belong_to_t_and_not_to_the_place_in_the_batch(dtype):
    """Two published NumPy DDPMs look things up by batch position."""
    diffusion = GaussianDiffusion(NoiseSchedule.linear())
    x0, noise = pictures(5, seed=0, dtype=dtype), pictures(5, seed=1, dtype=dtype)
    t = np.array([800, 3, 3, 999, 0])
    together = to_numpy(diffusion.q_sample(x0, t, noise))
    for i in range(5):
        alone = diffusion.q_sample(x0[i : i + 1], t[i : i + 1], noise[i : i + 1])
        np.testing.assert_array_equal(together[i : i + 1], to_numpy(alone))
    assert not np.array_equal(together, to_numpy(diffusion.q_sample(x0, np.arange(5), noise)))


# Algorithm 1


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_the_network_is_shown_x_t_with_its_own_t(prediction):
    """A network that knows x0 and believes the t it is told makes no error, whatever the draw."""
    diffusion = GaussianDiffusion(NoiseSchedule.cosine(), prediction)
    x0 = pictures(64, seed=0)

    def model(x, t, cond):
        assert cond is None
        eps = diffusion.predict_eps(x.data, t, x0)
        return Tensor(diffusion.target(x0, t, eps))

    for weighting in ("simple", "min_snr"):
        loss = diffusion.training_loss(model, x0, weighting=weighting)
        assert loss.shape == () and loss.item() < 1e-20


def test_every_step_is_trained_alike_the_last_included():
    diffusion, model = GaussianDiffusion(NoiseSchedule.cosine(10)), Recorder()
    rng = np.random.default_rng(0)
    diffusion.training_loss(model, xp.zeros((20_000, 1)), rng=rng)
    counts = np.bincount(model.calls[0][1], minlength=10)
    assert len(counts) == 10
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9, counts  # χ², 9 degrees of freedom, p = 0.001


@BOTH
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_loss_is_the_mean_squared_error_of_the_target(schedule, prediction):
    diffusion, model = GaussianDiffusion(schedule, prediction), Recorder()
    x0 = pictures(32, seed=0)
    simple = diffusion.training_loss(model, x0, rng=np.random.default_rng(1)).item()
    x_t, t, _ = model.calls[0]
    target = to_numpy(diffusion.target(x0, t, diffusion.predict_eps(asarray(x_t), t, x0)))
    assert simple == pytest.approx((target**2).mean(), rel=1e-9)

    # Min-SNR caps the weight of x0's error, snr_t, at 5: written here in terms of x0's error.
    weighted = diffusion.training_loss(
        model, x0, weighting="min_snr", rng=np.random.default_rng(1)
    ).item()
    per_picture = (target**2).mean(axis=(1, 2, 3))
    snr = schedule.snr[t]
    x0_error = (
        per_picture / snr if prediction == "eps" else per_picture * (1 - schedule.alphas_cumprod[t])
    )
    assert weighted == pytest.approx((np.minimum(snr, 5) * x0_error).mean(), rel=1e-9)


def test_min_snr_weights():
    schedule = NoiseSchedule.cosine()
    low = schedule.snr <= 5
    eps = GaussianDiffusion(schedule, "eps").loss_weights("min_snr")
    v = GaussianDiffusion(schedule, "v").loss_weights("min_snr")
    np.testing.assert_allclose(eps[low], 1, rtol=1e-14)
    np.testing.assert_allclose(eps[~low] * schedule.snr[~low], 5)
    np.testing.assert_allclose(v[low], schedule.alphas_cumprod[low])
    assert v.max() == pytest.approx(5 / 6, rel=0.01), "where snr = 5"
    np.testing.assert_array_equal(GaussianDiffusion(schedule).loss_weights("simple"), 1)


def test_gradient_reaches_the_model():
    scale = Tensor(xp.ones((1,)), requires_grad=True)
    diffusion = GaussianDiffusion(NoiseSchedule.linear())
    diffusion.training_loss(lambda x, t, cond: x * scale, xp.zeros((8, 2))).backward()
    assert scale.grad.shape == (1,) and float(scale.grad[0]) != 0


def test_same_generator_same_loss_to_the_bit():
    diffusion, x0 = GaussianDiffusion(NoiseSchedule.cosine()), pictures(8, seed=0, dtype=np.float32)
    model, labels = Recorder(num_classes=3), np.zeros(8, int)
    losses = []
    for _ in range(2):
        tinydiff.seed(3)
        losses.append(diffusion.training_loss(model, x0, cond=labels).item())
        losses.append(
            diffusion.training_loss(model, x0, cond=labels, rng=np.random.default_rng(3)).item()
        )
    assert losses[0] == losses[2] and losses[1] == losses[3]
    (x1, t1, c1), (x2, t2, c2) = model.calls[1], model.calls[3]
    for a, b in [(x1, x2), (t1, t2), (c1, c2)]:
        np.testing.assert_array_equal(a, b)


# Labels


def test_a_tenth_of_the_labels_is_dropped():
    diffusion, model = GaussianDiffusion(NoiseSchedule.cosine()), Recorder(num_classes=10)
    labels = np.arange(20_000) % 10
    rng = np.random.default_rng(0)
    diffusion.training_loss(model, xp.zeros((20_000, 1)), cond=labels, rng=rng)
    shown = model.calls[0][2]
    dropped = shown == 10
    np.testing.assert_array_equal(shown[~dropped], labels[~dropped])
    assert abs(dropped.sum() - 2000) < 4 * np.sqrt(20_000 * 0.1 * 0.9)
    assert np.bincount(labels[dropped]).min() > 140, "every class is dropped alike"
    assert labels.max() == 9, "the caller's labels are left alone"


@pytest.mark.parametrize(("drop", "null_count"), [(0.0, 0), (1.0, 50)])
def test_drop_rate_at_its_ends(drop, null_count):
    diffusion, model = GaussianDiffusion(NoiseSchedule.cosine()), Recorder(num_classes=4)
    diffusion.training_loss(model, xp.zeros((50, 1)), cond=np.zeros(50, int), drop=drop)
    assert (model.calls[0][2] == 4).sum() == null_count


# What is refused

X = np.zeros((2, 4, 4, 1), np.float32)
T = np.zeros(2, int)
EPS = GaussianDiffusion(NoiseSchedule.linear(10))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GaussianDiffusion(NoiseSchedule.linear(), "u"), ValueError, "prediction: .*'u'"),
        (lambda: GaussianDiffusion("cosine"), TypeError, "a NoiseSchedule, got 'cosine'"),
        (lambda: EPS.q_sample(X, T + 10, X), ValueError, "t: .*0 … 9, got 10"),
        (lambda: EPS.q_sample(X, T - 1, X), ValueError, "t: .*got -1"),
        (lambda: EPS.q_sample(X, T[:1], X), ValueError, "t: expected 2 numbers"),
        (lambda: EPS.q_posterior(X, X, T + 0.5), ValueError, "t: expected 2 integers.*float64"),
        (lambda: EPS.q_sample(X, T + 9.5, X), ValueError, "t: .*got 9.5"),
        (lambda: EPS.q_sample(X, T, X[:, :1]), ValueError, "noise: "),
        (lambda: EPS.q_sample(X, T, X.astype(float)), ValueError, "noise: .*float64"),
        (lambda: EPS.predict_x0(X, T, X[:1]), ValueError, "eps: "),
        (lambda: EPS.q_posterior(X[:1], X, T), ValueError, "x0: "),
        (lambda: EPS.q_sample(X.astype(np.uint8), T, X), TypeError, "uint8"),
        (lambda: EPS.training_loss(Recorder(), X.astype(int)), TypeError, "int64"),
        (lambda: EPS.training_loss(Recorder(), X, weighting="nll"), ValueError, "weighting.*'nll'"),
        (lambda: EPS.training_loss(Recorder(), X, cond=T), ValueError, "unconditional"),
        (lambda: EPS.training_loss(Recorder(3), X), ValueError, "cond: .*3, the null condition"),
        (lambda: EPS.training_loss(Recorder(3), X, cond=T + 4), ValueError, "0 … 2, or 3 .*got 4"),
        (lambda: EPS.training_loss(Recorder(3), X, cond=T - 1), ValueError, "cond: .*got -1"),
        (lambda: EPS.training_loss(Recorder(3), X, cond=T[:1]), ValueError, "got 1 for 2"),
        (lambda: EPS.training_loss(Recorder(3), X, cond=T + 0.0), TypeError, "cond: .*float64"),
        (lambda: EPS.training_loss(Recorder(3), X, cond=T[None]), ValueError, r"cond: .*\(1, 2\)"),
        (lambda: EPS.training_loss(Recorder(3), X, cond=T, drop=2), ValueError, "drop: "),
        (
            lambda: EPS.training_loss(lambda x, t, cond: x[:, :2], X),
            ValueError,
            r"model: expected output of shape \(2, 4, 4, 1\), got \(2, 2, 4, 1\)",
        ),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.skipif(backend.name != "numpy", reason="a GPU is not asked for each batch")
@pytest.mark.parametrize("value", [255, float("nan")])
def test_refuses_to_learn_from_bytes(value):
    with pytest.raises(ValueError, match=r"x0: expected pictures in \[−1, 1\].*to_float"):
        EPS.training_loss(Recorder(), X + np.float32(value))
