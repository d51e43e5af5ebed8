"""Denoisers and classifier-free guidance: what the network is asked, and what comes of it."""

import numpy as np
import pytest

from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import (
    GaussianDiffusion,
    NoiseSchedule,
    classifier_free,
    denoiser,
    sample_ddim,
)

SCHEDULE = NoiseSchedule.cosine(100)
EPS, V = GaussianDiffusion(SCHEDULE, "eps"), GaussianDiffusion(SCHEDULE, "v")
LABELS, T = np.array([0, 2, 1]), np.array([7, 50, 99])


class Net:
    """x · table[label] + t / 1000: enough to tell every input of a network from its output."""

    table = np.array([2.0, 3.0, 5.0, 7.0])  # the last is the null label's

    def __init__(self, num_classes=3):
        self.num_classes = num_classes
        self.batches = []
        self.weight = Tensor(xp.ones((1,), np.float64), requires_grad=True)

    def __call__(self, x, t, cond):
        self.batches.append(len(x))
        factor = np.ones(len(x)) if cond is None else self.table[to_numpy(cond)]
        shape = (-1, 1, 1, 1)
        added = asarray((to_numpy(t) / 1000).reshape(shape))
        return x * asarray(factor.reshape(shape)) * self.weight + added


def pictures(n=3, dtype=np.float64):
    return asarray(np.random.default_rng(0).standard_normal((n, 2, 2, 1)).astype(dtype))


def expected(x, factor):
    return to_numpy(x) * np.reshape(factor, (-1, 1, 1, 1)) + (T / 1000).reshape(-1, 1, 1, 1)


def same(got, wanted):
    np.testing.assert_allclose(to_numpy(got), wanted, rtol=1e-12, atol=1e-12)


# Denoisers


def test_denoiser_asks_with_the_bound_labels():
    x = pictures()
    same(denoiser(Net(), EPS, LABELS)(x, T), expected(x, Net.table[LABELS]))


def test_denoiser_without_labels_says_so_to_a_conditional_model():
    x = pictures()
    same(denoiser(Net(), EPS)(x, T), expected(x, [7, 7, 7]))
    same(denoiser(Net(), EPS, [3, 3, 3])(x, T), expected(x, [7, 7, 7]))
    same(denoiser(Net(num_classes=None), EPS)(x, T), expected(x, [1, 1, 1]))


def test_denoiser_turns_v_into_eps():
    x0, eps = pictures(), pictures()[::-1].copy()
    x_t, v = V.q_sample(x0, T, eps), V.target(x0, T, eps)
    same(denoiser(lambda x, t, cond: Tensor(v), V)(x_t, T), to_numpy(eps))


def test_denoiser_gives_plain_arrays_and_remembers_no_graph():
    seen = []

    class Watched(Net):
        def __call__(self, x, t, cond):
            seen.append(super().__call__(x, t, cond))
            return seen[-1]

    eps = denoiser(Watched(), EPS, LABELS)(pictures(), T)
    assert isinstance(eps, xp.ndarray)
    assert not seen[0].requires_grad


# Guidance


@pytest.mark.parametrize("scale", [0, 1, 2, 7.5, -1])
@pytest.mark.parametrize("diffusion", [EPS, V], ids=["eps", "v"])
def test_guidance_is_the_line_through_both_predictions(diffusion, scale):
    net, x = Net(), pictures()
    guided = classifier_free(net, diffusion, LABELS, scale=scale)(x, T)
    assert net.batches == [3 if scale in (0, 1) else 6]
    conditional = to_numpy(denoiser(Net(), diffusion, LABELS)(x, T))
    unconditional = to_numpy(denoiser(Net(), diffusion)(x, T))
    same(guided, unconditional + scale * (conditional - unconditional))


def test_guidance_in_numbers():
    """Label 2 multiplies by 5, no label by 7: with w = 2 by 7 + 2 (5 − 7) = 3."""
    x = pictures()
    same(classifier_free(Net(), EPS, [2, 2, 2], scale=2)(x, T), expected(x, [3, 3, 3]))
    same(classifier_free(Net(), EPS, [2, 2, 2], scale=0)(x, T), expected(x, [7, 7, 7]))
    same(classifier_free(Net(), EPS, [2, 2, 2], scale=1)(x, T), expected(x, [5, 5, 5]))


@pytest.mark.parametrize("scale", [0, 1, np.float64(2)])
def test_guidance_keeps_float32(scale):
    class Single(Net):
        def __call__(self, x, t, cond):
            return x * 0.5

    for diffusion in (EPS, V):
        eps = classifier_free(Single(), diffusion, LABELS, scale=scale)(
            pictures(dtype=np.float32), T
        )
        assert eps.dtype == np.float32


def test_guided_sampling_draws_the_class_asked_for():
    """One point a class, and their mixture without a label: the ideal conditional network."""
    places = np.array([-0.9, 0.0, 0.6])

    class Ideal:
        num_classes = 3

        def __call__(self, x, t, cond):
            signal = SCHEDULE.alphas_cumprod[to_numpy(t)].reshape(-1, 1)
            x, cond = to_numpy(x.data), to_numpy(cond)
            allowed = (cond[:, None] == np.arange(3)) | (cond[:, None] == 3)
            logits = -((x - np.sqrt(signal) * places) ** 2) / (2 * (1 - signal))
            logits = np.where(allowed, logits, -np.inf)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            mean = (weights * places).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
            return Tensor(asarray((x - np.sqrt(signal) * mean) / np.sqrt(1 - signal)))

    labels = np.repeat([0, 1, 2], 20)
    x_T = asarray(np.random.default_rng(0).standard_normal((60, 1)))
    for scale in (1, 2):
        denoise = classifier_free(Ideal(), EPS, labels, scale=scale)
        *_, x = sample_ddim(denoise, x_T, SCHEDULE, steps=20)
        np.testing.assert_allclose(to_numpy(x)[:, 0], places[labels], atol=1e-6)


@pytest.mark.parametrize("make", [denoiser, lambda *a: classifier_free(*a, scale=2)])
@pytest.mark.parametrize(
    ("net", "labels", "error", "message"),
    [
        (Net(None), LABELS, ValueError, "unconditional"),
        (lambda x, t, cond: x, LABELS, ValueError, "unconditional"),
        (Net(), LABELS + 2, ValueError, "0 … 2, or 3 for none, got 2 … 4"),
        (Net(), LABELS - 1, ValueError, "got -1 … 1"),
        (Net(), LABELS + 0.5, TypeError, "cond: .*float64"),
        (Net(), LABELS[:, None], ValueError, r"cond: .*\(3, 1\)"),
        (Net(), LABELS[:2], ValueError, "one for each picture, got 2 for 3"),
    ],
)
def test_refuses_labels(make, net, labels, error, message):
    with pytest.raises(error, match=message):
        make(net, EPS, labels)(pictures(), T)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_refuses_a_scale_that_is_no_number(scale):
    with pytest.raises(ValueError, match="scale"):
        classifier_free(Net(), EPS, LABELS, scale=scale)
