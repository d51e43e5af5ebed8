"""Learned variance: between its bounds, and taught by the variational bound alone."""

import math

import numpy as np
import pytest

from tinydiff import Tensor, ops
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import (
    GaussianDiffusion,
    NoiseSchedule,
    classifier_free,
    classifier_guided,
    denoiser,
    dynamic_threshold,
    sample_ddpm,
)
from tinydiff.diffusion.discretised import discretized_gaussian_log_likelihood
from tinydiff.diffusion.learned_variance import bound_in_bits, interpolated_log_variance

SCHEDULE = NoiseSchedule.cosine(50)
LEVELS = np.linspace(-1, 1, 256)


def learner(prediction="eps", schedule=SCHEDULE):
    return GaussianDiffusion(schedule, prediction, learned_variance=True)


class Network:
    """Answers x̂ = slope·x and o, both numbers that can be learned."""

    def __init__(self, slope, o):
        self.slope, self.o = (
            Tensor(asarray(np.full(1, a)), requires_grad=True) for a in (slope, o)
        )
        self.t = None

    def __call__(self, x, t, cond):
        self.t = t
        return ops.concat([x * self.slope, x * 0 + self.o])


def pictures(n, seed=0, dtype=np.float64):
    return asarray(np.random.default_rng(seed).choice(LEVELS, (n, 2, 2, 1)).astype(dtype))


def test_the_variance_lies_between_its_bounds():
    t = np.array([0, 1, 20, 49])
    say = lambda o: to_numpy(learner().p_mean_variance(X, t, xp.concatenate([X, 0 * X + o], -1))[1])
    X = pictures(4)
    low, high = SCHEDULE.posterior_log_variance_clipped[t], np.log(SCHEDULE.betas[t])
    for o, expected in [(-1, low), (1, high), (0, (low + high) / 2), (0.5, low / 4 + high * 0.75)]:
        got = say(o)
        assert got.shape == X.shape
        np.testing.assert_allclose(got, np.broadcast_to(expected.reshape(4, 1, 1, 1), X.shape))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "score", "flow"])
def test_the_mean_is_that_of_a_fixed_variance(prediction):
    x, t = pictures(4), np.array([0, 1, 20, 49])
    output = asarray(np.random.default_rng(1).standard_normal((4, 2, 2, 2)))
    mean, _ = learner(prediction).p_mean_variance(x, t, output)
    fixed = GaussianDiffusion(SCHEDULE, prediction)
    expected, log_variance = fixed.p_mean_variance(x, t, output[..., :1])
    np.testing.assert_array_equal(to_numpy(mean), to_numpy(expected))
    assert log_variance.shape == (4, 1, 1, 1)


def test_the_bound_is_least_where_the_variance_covers_the_error():
    """min over σ² of KL(N(μ̃, β̃) ‖ N(μ, σ²)): σ² = β̃ + (μ̃ − μ)²."""
    t = np.array([3, 10, 40])
    beta = SCHEDULE.posterior_variance[t].reshape(3, 1)
    q = asarray(np.zeros((3, 1))), None, asarray(np.log(beta))
    off = asarray(np.full((3, 1), 0.3))
    log_variance = Tensor(asarray(np.log(beta + 0.09)), requires_grad=True)
    bound = bound_in_bits(q[0], t, q, (off, log_variance))
    bound.sum().backward()
    np.testing.assert_allclose(to_numpy(log_variance.grad), 0, atol=1e-14)
    expected = 0.5 * np.log((beta[:, 0] + 0.09) / beta[:, 0]) / math.log(2)
    np.testing.assert_allclose(to_numpy(bound.data), expected, rtol=1e-12)


def test_the_first_step_is_the_surprise_at_the_bytes():
    x0, t = pictures(3), np.array([0, 5, 0])
    mean, log_variance = 0.9 * x0, Tensor(0 * x0 - 4.0)
    q = 0.8 * x0, None, 0 * x0 - 3.0
    bits = to_numpy(bound_in_bits(x0, t, q, (mean, log_variance)).data)
    surprise = to_numpy(discretized_gaussian_log_likelihood(x0, mean, Tensor(0 * x0 - 2.0)).data)
    expected = -surprise.reshape(3, -1).mean(axis=1) / math.log(2)
    np.testing.assert_allclose(bits[[0, 2]], expected[[0, 2]], rtol=1e-12)
    assert abs(bits[1] - expected[1]) > 0.1


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_hybrid_loss_with_the_smaller_variance_is_the_weighted_error(prediction):
    """Where σ² = β̃, L_t is the "vlb" weight times the squared error: T/1000 of it, in bits."""
    x0 = pictures(40)
    network = Network(0.3, -1.0)
    total = learner(prediction).training_loss(network, x0, rng=np.random.default_rng(1)).item()
    t = network.t
    plain = GaussianDiffusion(SCHEDULE, prediction)
    noise = np.random.default_rng(1)
    noise.integers(50)
    eps = asarray(noise.standard_normal(x0.shape))
    x_t = plain.q_sample(x0, t, eps)
    squared = to_numpy((0.3 * x_t - plain.target(x0, t, eps)) ** 2).reshape(40, -1).mean(axis=1)
    bits = squared * plain.loss_weights("vlb")[t] / math.log(2)
    mean, log_variance = plain.p_mean_variance(x_t, t, 0.3 * x_t)
    surprise = discretized_gaussian_log_likelihood(x0, Tensor(mean), 0.5 * Tensor(log_variance))
    surprise = to_numpy(surprise.data).reshape(40, -1).mean(axis=1)
    bits[t == 0] = -surprise[t == 0] / math.log(2)
    assert (t == 0).any()
    assert total == pytest.approx((squared + bits * 50 / 1000).mean(), rel=1e-6)


def test_the_mean_learns_from_the_simple_loss_and_the_variance_from_the_bound():
    x0 = pictures(50)
    both, simple = Network(0.3, 0.2), Network(0.3, 0.2)
    learner().training_loss(both, x0, rng=np.random.default_rng(1)).backward()
    plain = GaussianDiffusion(SCHEDULE)
    alone = lambda x, t, cond: simple(x, t, cond)[..., :1]
    plain.training_loss(alone, x0, rng=np.random.default_rng(1)).backward()
    np.testing.assert_allclose(to_numpy(both.slope.grad), to_numpy(simple.slope.grad), rtol=1e-12)
    assert abs(to_numpy(both.o.grad)[0]) > 1e-4


def test_float32_stays():
    x0 = pictures(50, dtype=np.float32)
    network = lambda x, t, cond: Tensor(xp.concatenate([x.data, x.data], -1))
    loss = learner().training_loss(network, x0)
    assert loss.dtype == np.float32 and np.isfinite(loss.item())


def test_a_denoiser_leaves_the_variance_out():
    x, t = pictures(3), np.array([0, 10, 49])
    network = lambda x, t, cond: Tensor(xp.concatenate([0.5 * x.data, x.data], -1))
    eps = denoiser(network, learner())(x, t)
    np.testing.assert_array_equal(to_numpy(eps), 0.5 * to_numpy(x))


class Told:
    """Answers x times a number, and an o, that both depend on the label; the last is none."""

    num_classes = 2
    slopes, o = np.array([0.2, 0.4, 0.3]), np.array([-0.5, 1.0, 0.3])

    def __call__(self, x, t, cond):
        slope, o = (asarray(a[cond].reshape(-1, 1, 1, 1)) for a in (self.slopes, self.o))
        return Tensor(xp.concatenate([x.data * slope, 0 * x.data + o], -1))


class Judge:
    num_classes = 2

    def __call__(self, x, t):
        return x.reshape(len(x), -1)[:, :2]


LABELS, STEPS = np.array([0, 1, 1]), np.array([3, 20, 45])
OF_LABEL = (Told.o[LABELS] + 1) / 2
GUIDED = {
    "scale 3": (lambda: classifier_free(Told(), learner(), LABELS, scale=3), OF_LABEL),
    "scale 1": (lambda: classifier_free(Told(), learner(), LABELS, scale=1), OF_LABEL),
    "scale 0": (lambda: classifier_free(Told(), learner(), LABELS, scale=0), np.full(3, 0.65)),
    "interval": (
        lambda: classifier_free(Told(), learner(), LABELS, scale=3, interval=(0.5, 1)),
        OF_LABEL,
    ),
    "far interval": (
        lambda: classifier_free(Told(), learner(), LABELS, scale=3, interval=(1e-6, 1e-5)),
        OF_LABEL,
    ),
    "rescaled": (lambda: classifier_free(Told(), learner(), LABELS, scale=3, rescale=1), OF_LABEL),
    "classifier": (
        lambda: classifier_guided(denoiser(Told(), learner()), Judge(), SCHEDULE, LABELS, scale=2),
        np.full(3, 0.65),
    ),
    "threshold": (
        lambda: dynamic_threshold(denoiser(Told(), learner(), LABELS), learner()),
        OF_LABEL,
    ),
}


@pytest.mark.parametrize(("make", "expected"), GUIDED.values(), ids=GUIDED)
def test_guidance_leaves_the_variance_as_the_conditional_network_has_it(make, expected):
    x, guided = pictures(3), make()
    eps, v = guided.with_variance(x, STEPS)
    np.testing.assert_array_equal(to_numpy(eps), to_numpy(guided(x, STEPS)))
    assert v.shape == x.shape
    np.testing.assert_allclose(to_numpy(v), np.broadcast_to(expected.reshape(3, 1, 1, 1), x.shape))


def test_ddpm_takes_the_learned_variance_under_guidance():
    """With w = 3 label 1 has the ε of slope 0.6 and v = 1: all of it by hand."""
    labels, x_T = np.ones(5, int), pictures(5)
    guided = classifier_free(Told(), learner(), labels, scale=3)
    settings = {"steps": 6, "clip": False, "variance": "learned"}
    got = list(sample_ddpm(guided, x_T, SCHEDULE, rng=np.random.default_rng(0), **settings))
    settings["variance"] = "large"
    by_hand = lambda x, t: 0.6 * x
    wanted = list(sample_ddpm(by_hand, x_T, SCHEDULE, rng=np.random.default_rng(0), **settings))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-9)


def test_nothing_learned_nothing_told():
    plain, alone = GaussianDiffusion(SCHEDULE), lambda x, t: x
    for denoise in (
        classifier_free(Told(), plain, LABELS, scale=3),
        classifier_guided(alone, Judge(), SCHEDULE, LABELS, scale=2),
        dynamic_threshold(alone, plain),
    ):
        assert not hasattr(denoise, "with_variance")


def test_log_variance_takes_the_schedules_own_steps():
    few, v = SCHEDULE.respaced(5), asarray(np.full((1, 1), 1.0))
    got = interpolated_log_variance(few, np.array([3]), v)
    np.testing.assert_allclose(to_numpy(got), np.log(few.betas[3]))


@pytest.mark.parametrize("channels", [1, 3])
def test_refuses_other_channels(channels):
    network = lambda x, t, cond: Tensor(xp.concatenate([x.data] * channels, -1))
    with pytest.raises(ValueError, match=rf"model: .*\(4, 2, 2, 2\).*got \(4, 2, 2, {channels}\)"):
        learner().training_loss(network, pictures(4))
