"""Attributions of functions of which all is known; the axioms of integrated gradients."""

import numpy as np
import pytest
from visualize.small_nets import Affine, Small, pictures

from tinydiff import Tensor, nn
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.visualize import (
    Unit,
    gradient,
    input_times_gradient,
    integrated_gradients,
    logit,
    saliency,
    smooth_grad,
)


@pytest.fixture
def affine(rng):
    return Affine(rng.standard_normal((12, 12, 3)).astype(np.float32), 3.0)


def weights(affine, n=2):
    return np.stack([to_numpy(affine.weight.data)] * n)


def test_of_an_affine_function(affine):
    images, w = pictures(2), weights(affine)
    x = to_float(images)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    close(saliency(affine, images, logit(0)), np.abs(w).max(axis=3))
    close(input_times_gradient(affine, images, logit(0)), x * w)
    close(smooth_grad(affine, images, logit(0), samples=4), w)
    close(integrated_gradients(affine, images, logit(0), steps=1), (x + 1) * w)


def cube(model, x):
    return (x * x * x).sum(axis=(1, 2, 3))


def test_integrated_gradients_of_a_cube(affine):
    """Two places of Gauss and Legendre are exact for the polynomial 3x²: x³ + 1 comes out."""
    images = pictures(2)
    found = integrated_gradients(affine, images, cube, steps=2)
    np.testing.assert_allclose(found, to_float(images) ** 3 + 1, atol=2e-6)


def test_smooth_grad_averages_over_noise(affine):
    """E 3(x + σz)² = 3(x² + σ²), with a deviation from the mean of few samples that shrinks."""
    images = pictures(2)
    x, sigma = to_float(images), 2 * 0.15
    found = smooth_grad(affine, images, cube, samples=100)
    assert abs((found - 3 * (x**2 + sigma**2)).mean()) < 0.01
    rough = smooth_grad(affine, images, cube, samples=25)
    error = lambda f: (f - 3 * (x**2 + sigma**2)).std()
    assert error(rough) / error(found) == pytest.approx(2, rel=0.1)


def test_smooth_grad_draws_from_the_given_stream(affine):
    draw = lambda seed: smooth_grad(
        affine, pictures(1), cube, samples=2, rng=np.random.default_rng(seed)
    )
    assert np.array_equal(draw(1), draw(1)) and not np.array_equal(draw(1), draw(2))


def values(model, images, target):
    x = Tensor(asarray(to_float(images).astype(np.float64)))
    return target(model.eval(), x).numpy()


@pytest.mark.parametrize("target", [logit(2), Unit("3", 4), Unit("3", 4, (2, 1))])
@pytest.mark.parametrize("base", ["black", "one", "each"])
def test_integrated_gradients_are_complete(target, base):
    """They sum to F(x) − F(x′), exactly for a smooth network."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.SiLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3), nn.Tanh(),
        nn.Flatten(), nn.Linear(72, 4),
    ).astype(np.float64)  # fmt: skip
    images, black = pictures(3), np.zeros((1, 12, 12, 3), np.uint8)
    baseline = {"black": None, "one": pictures(1, seed=5), "each": pictures(3, seed=6)}[base]
    found = integrated_gradients(model, images, target, baseline=baseline, steps=20)
    start = values(model, black if baseline is None else baseline, target)
    difference = values(model, images, target) - start
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), difference, rtol=1e-9, atol=1e-12)


def test_kinks_take_more_steps():
    """ReLU's gradient jumps on the way, which 20 places see roughly and 200 well."""
    model, images, target = Small().astype(np.float64), pictures(8), logit(2)
    difference = values(model, images, target) - values(model, images[:1] * 0, target)
    few, many = (
        integrated_gradients(model, images, target, steps=n).sum(axis=(1, 2, 3)) - difference
        for n in (20, 200)
    )
    assert np.abs(many).max() < 4e-3 < 0.1 < np.abs(difference).max()
    assert np.abs(many).mean() < np.abs(few).mean() / 3


def test_a_pixel_that_is_as_in_the_baseline_counts_nothing():
    model, images = Small(), pictures(1)
    baseline = images.copy()
    baseline[:, 4:7] //= 2
    found = integrated_gradients(model, images, logit(0), baseline=baseline)
    assert not found[:, :4].any() and not found[:, 7:].any() and found[:, 4:7].any()
    assert gradient(model, images, logit(0))[:, :4].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0, expected an int ≥ 1"),
        (
            {"baseline": pictures(3)},
            r"baseline: shape \(3, 12, 12, 3\) does not fit pictures \(2, ",
        ),
        ({"baseline": pictures(1, 6, 6)}, "baseline: shape"),
    ],
)
def test_integrated_gradients_refuse(settings, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(Small(), pictures(2), logit(0), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 1.5}, "samples: expected an int, got float"),
        ({"noise": 0}, "noise is 0, expected a number > 0"),
        ({"noise": float("nan")}, "noise is nan"),
    ],
)
def test_smooth_grad_refuses(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        smooth_grad(Small(), pictures(2), logit(0), **settings)
