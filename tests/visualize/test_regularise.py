"""Regularisers, penalties and waves, against their formulas."""

import numpy as np
import pytest
from visualize.small_nets import Affine, pictures

import tinydiff as td
from tinydiff import Tensor, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.tensor import grad
from tinydiff.visualize import (
    alpha_norm,
    ascend,
    blur,
    clip,
    decay,
    drop_small,
    every,
    fourier,
    gradient,
    logit,
    total_variation,
)
from tinydiff.visualize.fourier import wave_scales, waves


def apply(regulariser, x, k=1):
    return to_numpy(regulariser(asarray(x), k))


@pytest.fixture
def x(rng):
    return rng.uniform(-1, 1, (2, 9, 7, 3))


def test_decay_clip_every(x):
    np.testing.assert_allclose(apply(decay(0.25), x), 0.75 * x)
    np.testing.assert_allclose(apply(decay(0.25, ground=-1.0), x), 0.75 * x - 0.25)
    np.testing.assert_array_equal(apply(clip, 3 * x), np.clip(3 * x, -1, 1))
    third = every(3, decay(0.5))
    changed = [k for k in range(1, 10) if not np.array_equal(apply(third, x, k), x)]
    assert changed == [3, 6, 9]


def test_blur_of_a_point_is_the_kernel():
    x = np.zeros((1, 21, 31, 1))
    x[0, 10, 15] = 1
    found = apply(blur(1.5), x)[0, :, :, 0]
    down, right = np.meshgrid(np.arange(21) - 10, np.arange(31) - 15, indexing="ij")
    kernel = np.exp(-(down**2 + right**2) / (2 * 1.5**2))
    np.testing.assert_allclose(found[5:16, 9:22], (kernel / kernel.sum())[5:16, 9:22], atol=1e-6)


def test_blur_keeps_what_is_flat_and_mixes_no_colours_nor_pictures(x):
    flat = np.broadcast_to(x[:, :1, :1], x.shape)
    np.testing.assert_allclose(apply(blur(0.8), flat), flat, atol=1e-12)
    np.testing.assert_allclose(
        apply(blur(0.8), x)[1:, :, :, 2:], apply(blur(0.8), x[1:, :, :, 2:]), atol=1e-12
    )


def test_drop_small_by_hand(x):
    found = apply(drop_small(40, ground=0.5), x)
    size = np.linalg.norm(x - 0.5, axis=3)
    for i in range(2):
        small = size[i] < np.percentile(size[i], 40)
        assert small.sum() == 25  # of 63
        assert (found[i][small] == 0.5).all()
        np.testing.assert_array_equal(found[i][~small], x[i][~small])


def test_total_variation_of_a_ramp():
    """0.1 down and 0.2 to the right: all but the last row and column have both differences."""
    down, right = np.meshgrid(np.arange(5.0), np.arange(4.0), indexing="ij")
    ramp = np.stack([0.1 * down + 0.2 * right, 0 * down], axis=2)[None]
    inner, right_only, down_only = 4 * 3, 3, 4
    squares = inner * 0.05 + right_only * 0.04 + down_only * 0.01
    roots = inner * 0.05**0.5 + right_only * 0.2 + down_only * 0.1
    value = lambda beta: total_variation(Tensor(asarray(ramp)), beta=beta).numpy()
    np.testing.assert_allclose(value(2.0), [squares / 20], rtol=1e-12)
    np.testing.assert_allclose(value(1.0), [roots / 20], atol=2e-3)
    flat = total_variation(Tensor(asarray(0 * ramp), requires_grad=True), beta=1.0)
    assert flat.numpy() == 0


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_total_variation_by_hand(beta, x):
    expected = np.zeros(2)
    for n, i, j, c in np.ndindex(x.shape):
        down = x[n, i + 1, j, c] - x[n, i, j, c] if i < 8 else 0
        right = x[n, i, j + 1, c] - x[n, i, j, c] if j < 6 else 0
        expected[n] += (down**2 + right**2) ** (beta / 2) / 63
    found = total_variation(Tensor(asarray(x)), beta=beta).numpy()
    np.testing.assert_allclose(found, expected, atol=3e-3 if beta == 1 else 1e-12)


def test_penalties_derivatives(x):
    td.gradcheck(total_variation, x)
    td.gradcheck(lambda x: total_variation(x, beta=1.0), x)
    td.gradcheck(alpha_norm, x)
    expected = (x**6).sum(axis=3).mean(axis=(1, 2))
    np.testing.assert_allclose(alpha_norm(Tensor(asarray(x))).numpy(), expected)
    flat = Tensor(asarray(np.ones((1, 3, 3, 1))), requires_grad=True)
    slope = to_numpy(grad(total_variation(flat, beta=1.0).sum(), flat))
    assert np.array_equal(slope, np.zeros_like(slope))


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_waves_are_orthonormal_and_have_one_frequency(n):
    basis, frequency = waves(n)
    np.testing.assert_allclose(basis.T @ basis, np.eye(n), atol=1e-12)
    spectrum = np.abs(np.fft.rfft(basis, axis=0))
    assert np.array_equal(spectrum.argmax(axis=0), frequency)
    assert (np.sort(spectrum, axis=0)[:-1] < 1e-10).all()


def test_a_step_in_the_waves_is_a_step_along_the_direction(rng):
    """x = F (s ∘ z) Fᵀ in ops, its derivative by z taken by the engine, and carried to x again."""
    (h, _), (w, _), scale = waves(6), waves(5), wave_scales(6, 5, 1.0)

    def picture(z):
        z = z * asarray(scale[..., None])
        n, _, _, c = z.shape
        y = ops.matmul(asarray(h), z.reshape(n, 6, 5 * c)).reshape(n, 6, 5, c)
        return ops.matmul(asarray(w), y)

    td.gradcheck(picture, rng.standard_normal((2, 6, 5, 3)))
    model = Affine(rng.standard_normal((6, 5, 3))).astype(np.float64)
    z = Tensor(asarray(rng.standard_normal((1, 6, 5, 3))), requires_grad=True)
    slope = grad(logit(0)(model, picture(z)).sum(), z)
    expected = picture(Tensor(slope)).numpy()
    g = gradient(model, pictures(1, 6, 5), logit(0))
    np.testing.assert_allclose(apply(lambda g, k: fourier(1.0)(g), g), expected, rtol=1e-9)
    np.testing.assert_allclose(apply(lambda g, k: fourier(0.0)(g), g), g, rtol=1e-9)


def test_scales_fall_with_the_frequency():
    scale = wave_scales(8, 16, 1.0)
    assert scale[0, 0] == scale.max() == 16
    assert scale[0, 3] == pytest.approx(16 / 2) and scale[7, 0] == pytest.approx(8 / 4)


def test_waves_make_pictures_smoother(rng):
    weight = rng.standard_normal((16, 16, 1)).astype(np.float32)
    rough = lambda along: total_variation(
        Tensor(list(ascend(Affine(weight), np.zeros((1, 16, 16, 1)), logit(0), **along))[-1])
    ).numpy()
    settings = {"steps": 1, "rate": 0.1}
    assert rough({**settings, "along": fourier()}) < rough(settings) / 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decay(1.0), "share is 1.0, expected 0 < share < 1"),
        (lambda: blur(0), "sigma is 0, expected a number > 0"),
        (lambda: drop_small(100), "percentile is 100, expected 0 < percentile < 100"),
        (lambda: every(0, clip), "steps is 0, expected an int ≥ 1"),
        (lambda: fourier(-1.0), "power is -1.0, expected a number ≥ 0"),
        (lambda: total_variation(Tensor(np.zeros((1, 2, 2, 1))), beta=0), "beta is 0, expected"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
