"""PSNR: closed forms, its error against the scatter of samples, refusals."""

import math

import numpy as np
import pytest

from tinydiff.metrics import psnr


@pytest.mark.parametrize(("off", "expected"), [(1, 48.1308), (255, 0.0), (16, 24.0484)])
def test_a_constant_error(off, expected):
    black = np.zeros((3, 4, 5, 3), np.uint8)
    got = psnr(black + np.uint8(off), black)
    assert got.value == pytest.approx(expected, abs=1e-4)
    assert got.error == pytest.approx(0, abs=1e-9)
    assert psnr(black, black + np.uint8(off)).value == pytest.approx(expected, abs=1e-4)


def test_each_picture_counts_by_itself():
    black = np.zeros((2, 4, 4, 1), np.uint8)
    drawn = black.copy()
    drawn[0] += 10
    drawn[1, 0, 0] = 40  # a sixteenth of the pixels, four times as far off: the same error
    assert psnr(drawn, black).error == pytest.approx(0, abs=1e-12)
    drawn[1, 0, 0] = 80
    both = [10 * math.log10(255**2 / squared) for squared in (100, 400)]
    got = psnr(drawn, black)
    assert got.value == pytest.approx(sum(both) / 2)
    assert got.error == pytest.approx(np.std(both, ddof=1) / math.sqrt(2))


def test_nothing_wrong_is_infinitely_good():
    images = np.full((2, 3, 3, 1), 7, np.uint8)
    assert psnr(images, images).value == math.inf
    assert psnr(images, images).error == 0


def test_the_error_is_how_much_samples_scatter(rng):
    original = rng.integers(0, 256, (1, 8, 8, 1)).astype(np.uint8)
    many = np.repeat(original, 4000, axis=0)
    strength = rng.uniform(2, 30, (4000, 1, 1, 1))
    noisy = np.clip(many + strength * rng.standard_normal(many.shape), 0, 255).astype(np.uint8)
    parts = [psnr(noisy[i::100], many[i::100]) for i in range(100)]
    scatter = np.std([p.value for p in parts], ddof=1)
    assert np.mean([p.error for p in parts]) == pytest.approx(scatter, rel=0.25)


def test_refusals():
    images = np.zeros((2, 3, 3, 1), np.uint8)
    with pytest.raises(TypeError, match="pictures: expected a NumPy array of uint8, got float64"):
        psnr(images.astype(float), images)
    with pytest.raises(TypeError, match="originals: expected a NumPy array of uint8, got list"):
        psnr(images, [[1]])
    with pytest.raises(ValueError, match=r"originals: expected \(N, H, W, C\)"):
        psnr(images, images[0])
    with pytest.raises(ValueError, match="N ≥ 1"):
        psnr(images[:0], images[:0])
    with pytest.raises(ValueError, match="as of the originals"):
        psnr(images[:1], images)
