"""Guidance in its variants, against Gaussian mixtures whose every denoiser is known exactly."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, ops
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import (
    GaussianDiffusion,
    NoiseSchedule,
    classifier_free,
    classifier_guided,
    denoiser,
    dynamic_threshold,
    null_condition,
)
from tinydiff.diffusion.guidance import rescaled
from tinydiff.models import NoisyClassifier

SCHEDULE = NoiseSchedule.cosine(100)
EPS, V = GaussianDiffusion(SCHEDULE, "eps"), GaussianDiffusion(SCHEDULE, "v")
CENTRES = np.array([[-0.6, 0.1], [0.2, 0.5], [0.5, -0.4]])
SPREAD = 0.04  # the variance of every class
SHARES = np.array([0.2, 0.5, 0.3])
LABELS, T = np.array([0, 2, 1, 1]), np.array([0, 30, 60, 99])


def points(n=4, seed=0, dtype=np.float64):
    return asarray(np.random.default_rng(seed).standard_normal((n, 2)).astype(dtype))


def same(got, wanted):
    np.testing.assert_allclose(to_numpy(got), to_numpy(wanted), rtol=1e-10, atol=1e-12)


class Mixture:
    """p(x) = Σ share_k N(centre_k, SPREAD I) as an ideal network, and as its ideal classifier."""

    num_classes = 3

    def means(self, t, x):
        """√ᾱ centre_k, and the variance around it (N, 1), for each picture and class."""
        signal = SCHEDULE.alphas_cumprod[to_numpy(t)].reshape(-1, 1)
        return np.sqrt(signal)[..., None] * CENTRES, signal * SPREAD + 1 - signal

    def log_joint(self, x, t):
        """log p(x_t, k) but for what does not depend on k, (N, 3)"""
        means, variance = self.means(t, x)
        pulls = ops.sum(x.reshape(-1, 1, 2) * asarray(means), axis=2)
        squares = (means**2).sum(axis=2) / 2
        return (pulls - asarray(squares)) / asarray(variance) + asarray(np.log(SHARES))

    def __call__(self, x, t, cond):
        """ε of the classes asked for, and of the mixture for the null label"""
        means, variance = self.means(t, x)
        logits = to_numpy(self.log_joint(x, t).data)
        logits = np.where(np.equal.outer(cond, range(3)) | (cond[:, None] == 3), logits, -np.inf)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        score = ((shares[..., None] * means).sum(axis=1) - to_numpy(x.data)) / variance
        sigma = np.sqrt(1 - SCHEDULE.alphas_cumprod[t]).reshape(-1, 1)
        return Tensor(asarray(-sigma * score))


class Judge:
    num_classes = 3

    def __call__(self, x, t):
        return Mixture().log_joint(x, t)


# By a classifier


def test_the_exact_classifier_with_scale_1_gives_the_conditional_model():
    """Bayes' rule: ∇ log p(x | y) = ∇ log p(x) + ∇ log p(y | x)."""
    plain, conditional = denoiser(Mixture(), EPS), denoiser(Mixture(), EPS, LABELS)
    guided = classifier_guided(plain, Judge(), SCHEDULE, LABELS, scale=1)
    same(guided(points(), T), conditional(points(), T))
    assert np.abs(to_numpy(plain(points(), T) - conditional(points(), T))).max() > 0.1


@pytest.mark.parametrize("scale", [0, 2.5, -1])
def test_the_scale_multiplies_the_pull(scale):
    guided = classifier_guided(denoiser(Mixture(), EPS), Judge(), SCHEDULE, LABELS, scale=scale)
    same(guided(points(), T), classifier_free(Mixture(), EPS, LABELS, scale=scale)(points(), T))


def test_between_two_steps():
    net = NoisyClassifier(1, 3, widths=(8,), dropout=0.0)
    x = asarray(np.random.default_rng(0).standard_normal((2, 4, 4, 1)).astype(np.float32))
    guided = classifier_guided(lambda x, t: 0 * x, net, SCHEDULE, [0, 1], scale=1.0)
    at = [to_numpy(guided(x, np.full(2, t))) for t in (40.0, 40.5, 41.0)]
    assert at[0].dtype == np.float32
    np.testing.assert_allclose((at[0] + at[2]) / 2, at[1], atol=0.2 * np.abs(at[1]).max())
    assert np.abs(at[1]).max() > 0


def test_a_caller_that_records_nothing_is_guided_too():
    guided = classifier_guided(denoiser(Mixture(), EPS), Judge(), SCHEDULE, LABELS, scale=1)
    wanted = guided(points(), T)
    with td.no_grad():
        same(guided(points(), T), wanted)


def test_the_weights_of_the_classifier_get_no_gradient():
    net = NoisyClassifier(1, 3, widths=(8,))
    x = xp.ones((2, 4, 4, 1), np.float32)
    classifier_guided(lambda x, t: x, net.eval(), SCHEDULE, [0, 1], scale=1.0)(x, np.array([5, 5]))
    assert all(p.grad is None for p in net.parameters())


# In an interval


def test_outside_of_the_interval_it_is_the_conditional_model():
    wide, middle, none = (0, np.inf), tuple(SCHEDULE.sigmas[[30, 60]]), (1e-4, 1e-3)
    x = points()
    always, conditional = (
        to_numpy(classifier_free(Mixture(), EPS, LABELS, scale=s)(x, T)) for s in (3, 1)
    )
    for interval, inside in ((wide, [1, 1, 1, 1]), (middle, [0, 1, 1, 0]), (none, [0, 0, 0, 0])):
        guided = classifier_free(Mixture(), EPS, LABELS, scale=3, interval=interval)
        same(guided(x, T), np.where(np.array(inside)[:, None], always, conditional))


def test_outside_of_the_interval_no_evaluation_is_wasted():
    batches = []

    class Counted(Mixture):
        def __call__(self, x, t, cond):
            batches.append(len(x))
            return super().__call__(x, t, cond)

    guided = classifier_free(Counted(), EPS, LABELS, scale=0, interval=(0.1, 1))
    guided(points(), np.full(4, 99))
    guided(points(), np.full(4, 40))
    assert batches == [4, 8]


# Rescaled


def contrast(x):
    return to_numpy(x).reshape(len(x), -1).std(axis=1)


@pytest.mark.parametrize("diffusion", [EPS, V], ids=["eps", "v"])
def test_rescaling_gives_the_predicted_picture_its_contrast_back(diffusion):
    x = points()
    guided, plain, full, half = (
        diffusion.predict_x0(x, T, classifier_free(Mixture(), diffusion, LABELS, **how)(x, T))
        for how in (
            {"scale": 4},
            {"scale": 1},
            {"scale": 4, "rescale": 1},
            {"scale": 4, "rescale": 0.5},
        )
    )
    assert np.all(np.abs(contrast(guided) / contrast(plain) - 1)[1:3] > 0.02)
    np.testing.assert_allclose(contrast(full), contrast(plain), rtol=1e-9)
    np.testing.assert_allclose(to_numpy(half), (to_numpy(guided) + to_numpy(full)) / 2, atol=1e-9)


def test_rescaling_in_numbers():
    """std 4 to std 2: half of it, and with φ = ½ three quarters."""
    x0, wanted = asarray(np.array([[0.0, 8.0]])), asarray(np.array([[1.0, 5.0]]))
    same(rescaled(x0, wanted, 1), [[0, 4]])
    same(rescaled(x0, wanted, 0.5), [[0, 6]])
    same(rescaled(x0, wanted, 0), [[0, 8]])


# Thresholds


@pytest.mark.parametrize("quantile", [0.9, 0.951, 0.5, 1.0])
def test_thresholds_are_numpys_quantiles(quantile):
    x = asarray(np.random.default_rng(1).standard_normal((4, 3, 5, 2)))
    wild = asarray(3 * np.random.default_rng(2).standard_normal(x.shape))

    def denoise(x, t):
        return EPS.predict_eps(x, t, wild)

    eps = dynamic_threshold(denoise, EPS, quantile=quantile)(x, T)
    got = to_numpy(EPS.predict_x0(x, T, eps))
    size = np.abs(to_numpy(wild))
    s = np.quantile(size, quantile, axis=(1, 2, 3), keepdims=True)
    assert np.all(s > 1)
    np.testing.assert_allclose(got, np.clip(to_numpy(wild), -s, s) / s, rtol=1e-6, atol=1e-6)


def test_pictures_in_range_are_left_alone():
    x, mild = points(), 0.9 * xp.tanh(points(seed=3))
    eps = EPS.predict_eps(x, T, mild)
    same(dynamic_threshold(lambda x, t: eps, EPS)(x, T), eps)


def test_wrappers_can_be_put_around_each_other():
    plain = denoiser(Mixture(), EPS)
    guided = classifier_guided(plain, Judge(), SCHEDULE, LABELS, scale=30)
    x0 = EPS.predict_x0(points(), T, dynamic_threshold(guided, EPS, quantile=1.0)(points(), T))
    assert np.abs(to_numpy(EPS.predict_x0(points(), T, guided(points(), T)))).max() > 2
    assert np.abs(to_numpy(x0)).max() < 1 + 1e-9


# Refusals


def by_classifier(labels=LABELS, scale=1.0, judge=None):
    judge = judge or Judge()
    return classifier_guided(lambda x, t: x, judge, SCHEDULE, labels, scale=scale)(points(), T)


def free(net=None, labels=LABELS, **how):
    return classifier_free(net or Mixture(), EPS, labels, **{"scale": 2, **how})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: by_classifier(LABELS + 1), ValueError, "cond: expected labels 0 … 2"),
        (lambda: by_classifier(LABELS + 2), ValueError, "got 2 … 4"),
        (lambda: by_classifier(LABELS[:2]), ValueError, "got 2 for 4"),
        (lambda: by_classifier(LABELS / 2), TypeError, "cond: .*float64"),
        (lambda: by_classifier(judge=lambda x, t: x), ValueError, "cond: .*no num_classes"),
        (lambda: by_classifier(scale=np.nan), ValueError, "scale: .*nan"),
        (lambda: free(net=lambda x, t, cond: x), ValueError, "unconditional"),
        (lambda: free(interval=(2, 1)), ValueError, r"interval: .*\(2, 1\)"),
        (lambda: free(interval=(-1, 1)), ValueError, "interval: "),
        (lambda: free(interval=(np.nan, 1)), ValueError, "interval: "),
        (lambda: free(rescale=1.1), ValueError, r"rescale: .*1\.1"),
        (lambda: dynamic_threshold(lambda x, t: x, EPS, quantile=0), ValueError, "quantile: .*0"),
        (lambda: dynamic_threshold(lambda x, t: x, EPS, quantile=99.5), ValueError, "quantile"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_label_for_none():
    assert null_condition(Mixture()) == 3
    assert null_condition(lambda x, t, cond: x) is None
    x, none = points(), np.full(4, null_condition(Mixture()))
    plain = denoiser(Mixture(), EPS)(x, T)
    for scale in (0, 1, 5):
        same(classifier_free(Mixture(), EPS, none, scale=scale)(x, T), plain)
