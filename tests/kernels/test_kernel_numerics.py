"""Where float32 is hard: large means, large values, tails.  Warnings are errors."""

import numpy as np
import pytest
from kernel_cases import group_norm as group_norm_case
from kernel_cases import normal, results

from tinydiff import kernels
from tinydiff.kernels import plain

pytestmark = pytest.mark.filterwarnings("error")
EPSILON = np.finfo(np.float32).eps


def float64(arrays):
    return [a.astype(np.float64) for a in arrays]


@pytest.mark.parametrize("mean", [0.0, 10.0, 1e3, 1e4])
@pytest.mark.parametrize("pixels", [49, 1024])
def test_group_norm_of_a_large_mean(mean, pixels, rng):
    """The mean is a float32 and so off by up to half a unit; E[x²] − E[x]² would lose all."""
    x = normal(rng, 4, pixels, 32) + np.float32(mean)
    weight, bias = np.ones(32, np.float32), np.zeros(32, np.float32)
    y, _, found, variance = kernels.group_norm(x, weight, bias, 8, 1e-5)
    wanted, _, _, wanted_variance = plain.group_norm(*float64([x, weight, bias]), 8, 1e-5)
    assert np.abs(y - wanted).max() <= 10 * EPSILON * (1 + mean)
    assert np.abs(variance / wanted_variance - 1).max() <= 3e-6 * max(1, mean / 1e3)
    assert found.shape == variance.shape == (4, 8)


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("pixels", [256, 6000])  # several images at a time, and an image in bands
def test_group_norm_gradient_of_a_large_mean(silu, pixels, rng):
    case = group_norm_case(rng, 4, pixels, 32, 8, silu=silu, mean=1e3)
    got, wanted = results(case), results(case, float64(case.arrays), plain)
    for a, b in zip(got, wanted, strict=True):
        assert np.abs(a - b).max() <= 5e-4 * np.abs(b).max()


@pytest.mark.parametrize("mean", [0.0, 10.0, 1e3, 1e4])
def test_layer_norm_of_a_large_mean(mean, rng):
    case = group_norm_case(rng, 30, 1, 100, 1, mean=mean)
    for a, b in zip(results(case), results(case, float64(case.arrays), plain), strict=True):
        assert np.abs(a - b).max() <= 1e-6 * np.abs(b).max()


@pytest.mark.parametrize("scale", [1e-4, 1e15])
def test_group_norm_does_not_depend_on_the_scale(scale, rng):
    x, weight, bias = normal(rng, 4, 300, 16), normal(rng, 16), normal(rng, 16)
    eps = 1e-12
    small, _, _, _ = kernels.group_norm(x, weight, bias, 4, eps, True)
    big, saved, _, _ = kernels.group_norm(x * np.float32(scale), weight, bias, 4, eps, True)
    np.testing.assert_allclose(big, small, rtol=1e-3 if scale < 1 else 1e-5, atol=1e-4)
    for gradient in kernels.group_norm_grad(np.ones_like(x), saved, weight):
        assert np.isfinite(gradient).all()


def test_a_constant_image_becomes_the_bias(rng):
    x = np.broadcast_to(normal(rng, 1, 1, 4).repeat(4, axis=2), (3, 2500, 16)) * 0 + np.float32(3)
    weight, bias = normal(rng, 16), normal(rng, 16)
    y, saved, mean, variance = kernels.group_norm(x, weight, bias, 4, 1e-5)
    np.testing.assert_allclose(y, np.broadcast_to(bias, y.shape), atol=2e-3)
    np.testing.assert_allclose(mean, 3, rtol=1e-6)
    assert (variance < 1e-10).all()
    assert all(np.isfinite(a).all() for a in kernels.group_norm_grad(x, saved, weight))


def test_a_constant_row_becomes_the_bias(rng):
    x = np.full((40, 1, 100), 3, np.float32)
    weight, bias = normal(rng, 100), normal(rng, 100)
    y, saved, mean, variance = kernels.group_norm(x, weight, bias, 1, 1e-5)
    np.testing.assert_allclose(y, np.broadcast_to(bias, y.shape), atol=1e-4)
    np.testing.assert_allclose(mean, 3, rtol=1e-6)
    assert (abs(variance) < 1e-10).all()
    assert all(np.isfinite(a).all() for a in kernels.group_norm_grad(x, saved, weight))


def large_numbers():
    """From −1e30 to 1e30, and all that lies between, often enough for several workers."""
    ends = np.array([1e30, 1e9, 1e4, 104, 89, 88, 30, 17, 5, 1, 1e-3, 1e-20, 0], np.float32)
    return np.resize(np.concatenate([ends, -ends]), 90_000)


@pytest.mark.parametrize("name", ["silu", "gelu"])
def test_activations_from_end_to_end(name):
    """The distribution function is off by a unit in the last digit of 1; y is x times that."""
    activation, gradient = getattr(kernels, name), getattr(kernels, f"{name}_grad")
    x = large_numbers()
    z = x.astype(np.float64)
    allowed = 2 * EPSILON * np.maximum(1, np.minimum(np.abs(z), 20))
    for got, right in (
        (activation(x), getattr(plain, name)(z)),
        (gradient(np.ones_like(x), x), getattr(plain, f"{name}_grad")(np.ones_like(z), z)),
    ):
        assert (np.abs(got - right) <= np.maximum(allowed, EPSILON * np.abs(right))).all()
        assert not got[x < -20].any()


def test_plain_silu_gradient_does_not_cancel():
    x = np.array([17.0, 300.0, 12345.678, 1e9], np.float32)
    np.testing.assert_allclose(plain.silu_grad(np.ones_like(x), x), 1, rtol=2e-6)


def test_fast_gelu_is_the_normal_distribution_function(rng):
    """Dense enough to meet every wave of the fit's error."""
    x = np.linspace(-7, 7, 300_001, dtype=np.float32)
    cdf = plain.gelu(x.astype(np.float64)) / np.where(x == 0, 1, x)
    away = np.abs(x) > 0.01
    assert np.abs(kernels.gelu(x)[away] / x[away] - cdf[away]).max() <= 2e-7


def test_group_norm_with_silu_of_large_values(rng):
    x, g = normal(rng, 4, 1500, 16), normal(rng, 4, 1500, 16)
    weight = np.float32(1e4) * normal(rng, 16)
    y, saved, _, _ = kernels.group_norm(x, weight, 0 * weight, 4, 1e-5, True)
    wanted, wanted_saved, _, _ = plain.group_norm(*float64([x, weight, 0 * weight]), 4, 1e-5, True)
    gradients = kernels.group_norm_grad(g, saved, weight)
    wanted_gradients = plain.group_norm_grad(g.astype(float), wanted_saved, weight.astype(float))
    for a, b in zip((y, *gradients), (wanted, *wanted_gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * np.abs(b).max())


@pytest.mark.parametrize("size", [1e4, 1e18])
def test_attention_of_large_scores_chooses_one_key(size, rng):
    q, k, v, g = (normal(rng, 40, 40, 8) for _ in range(4))
    big = (q * np.float32(size), k * np.float32(size))
    y, saved = kernels.attention(*big, v, None, 1.0)
    scores = q.astype(np.float64) @ k.astype(np.float64).swapaxes(1, 2)
    chosen = np.take_along_axis(v, scores.argmax(axis=2)[..., None], axis=1)
    np.testing.assert_allclose(y, chosen, atol=1e-6)
    out = [np.empty_like(a) for a in (q, k, v)]
    kernels.attention_grad(g, *big, v, None, saved, 1.0, out)
    for gradient in out:
        assert np.isfinite(gradient).all()


def test_attention_does_not_see_what_the_mask_bars(rng):
    q, k, v, g = (normal(rng, 30, 50, 8) for _ in range(4))
    mask = np.zeros((50, 50), np.float32)
    mask[:, 20:] = -np.inf
    y, saved = kernels.attention(q, k, v, mask, 0.3)
    gq, gk, gv = out = [np.empty_like(a) for a in (q, k, v)]
    gs = kernels.attention_grad(g, q, k, v, mask, saved, 0.3, out)
    alone, _ = kernels.attention(q, k[:, :20], v[:, :20], None, 0.3)
    np.testing.assert_allclose(y, alone, rtol=1e-5, atol=1e-6)
    assert not gk[:, 20:].any() and not gv[:, 20:].any()
    assert not gs[..., 20:].any() and np.isfinite(gq).all()


def test_long_sums_do_not_drift(rng):
    """A quarter of a million numbers of one sign, added in float32."""
    a = rng.random((250_000, 3), dtype=np.float32)
    np.testing.assert_allclose(kernels.sum_rows(a), a.astype(np.float64).sum(axis=0), rtol=1e-4)
    b = rng.random((250_000, 2), dtype=np.float32)
    wanted = a.astype(np.float64).T @ b.astype(np.float64)
    np.testing.assert_allclose(kernels.matmul_t(a, b), wanted, rtol=1e-4)
