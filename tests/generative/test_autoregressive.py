"""Masked convolutions: what a pixel may see, and probabilities that sum to 1."""

import itertools

import numpy as np
import pytest
from losses import assert_gradient, bytes_in

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.generative import PixelCNN
from tinydiff.generative.autoregressive import MaskedConv2d


def seen_by(answer, x):
    """Which pixels (H, W) a number depends on"""
    return np.abs(to_numpy(td.grad(answer, x, retain_graph=True))).sum(axis=(0, 3)) > 0


@pytest.mark.parametrize("sees, kind", [(s, k) for s in ("above", "left") for k in "AB"])
def test_a_masked_convolution_sees_what_it_says(sees, kind):
    x = Tensor(asarray(np.random.default_rng(0).standard_normal((1, 5, 5, 2))), requires_grad=True)
    y = MaskedConv2d(2, 3, 5, sees, kind).astype(np.float64)(x)
    assert y.shape == (1, 5, 5, 3)
    rows, columns = np.indices((5, 5))
    for i, j in itertools.product(range(5), range(5)):
        last = kind == "B"
        if sees == "above":
            expected = (rows < i + last) & (rows >= i - 2) & (abs(columns - j) <= 2)
        else:
            expected = (rows == i) & (columns < j + last) & (columns >= j - 2)
        np.testing.assert_array_equal(seen_by(y[0, i, j].sum(), x), expected, f"{i}, {j}")


def test_a_pixel_depends_on_all_before_it_and_none_after():
    """No blind spot: with three layers all of the past is in sight."""
    model = PixelCNN((4, 5, 1), 6, 2, levels=3).astype(np.float64)
    x = Tensor(asarray(np.random.default_rng(0).standard_normal((1, 4, 5, 1))), requires_grad=True)
    logits = model(x)
    order = np.arange(20).reshape(4, 5)
    weights = asarray(np.random.default_rng(1).standard_normal(3))
    for i, j in itertools.product(range(4), range(5)):
        answer = (logits[0, i, j] * weights).sum()
        if i + j:
            np.testing.assert_array_equal(seen_by(answer, x), order < order[i, j])
        else:
            assert not seen_by(answer, x).any()


def every_picture():
    """All 64 pictures of 2 × 3 pixels that are black or white"""
    return np.array(list(itertools.product((-1.0, 1.0), repeat=6))).reshape(-1, 2, 3, 1)


def binary_model():
    model = PixelCNN((2, 3, 1), 4, 1, levels=2)
    for parameter in model.parameters():
        parameter.data *= 3  # further from evenly likely
    return model


def test_probabilities_of_all_pictures_sum_to_1():
    probabilities = np.exp(binary_model().astype(np.float64).log_likelihood(every_picture()))
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert probabilities.max() > 2 * probabilities.min()


def test_pictures_are_drawn_as_often_as_it_says():
    """Pearson's χ² over all pictures, 63 degrees of freedom: above 115 once in 10,000."""
    model, count = binary_model(), 6000
    drawn = to_numpy(model.sample(count, rng=np.random.default_rng(0)))
    assert set(np.unique(drawn)) == {-1.0, 1.0}
    number = ((drawn.reshape(count, 6) > 0) @ (2 ** np.arange(6)[::-1])).astype(int)
    expected = count * np.exp(model.log_likelihood(np.float32(every_picture())))
    counts = np.bincount(number, minlength=64)
    assert ((counts - expected) ** 2 / expected).sum() < 115


def test_levels_are_the_bytes():
    model = PixelCNN((2, 2, 1), 4, 1)
    values = np.arange(256, dtype=np.uint8)[::64].reshape(1, 2, 2, 1)
    x = td.images.to_float(values)
    np.testing.assert_array_equal(model.bins(asarray(x)), values[..., 0])
    drawn = to_numpy(model.sample(3, rng=np.random.default_rng(0)))
    np.testing.assert_allclose(td.images.to_float(td.images.to_uint8(drawn)), drawn, atol=1e-6)


def test_loss_is_bits_per_dimension():
    model, x = PixelCNN((2, 3, 1), 4, 1), np.float32(bytes_in((2, 3, 1), 5))
    bits = -model.log_likelihood(x).mean() / (6 * np.log(2))
    assert model.loss(x).item() == pytest.approx(bits, rel=1e-5)
    assert model.evaluations == 6


def test_gradient_of_the_loss():
    model, x = PixelCNN((3, 3, 1), 4, 1).astype(np.float64), bytes_in((3, 3, 1), 4)
    assert_gradient(model.parameters(), lambda: model.loss(x))


def test_colour_is_refused():
    with pytest.raises(ValueError, match="shape: expected grey"):
        PixelCNN((4, 4, 3), 4, 1)
