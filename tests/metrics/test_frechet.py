"""The Fréchet distance against closed forms, and its bias and error against repeated draws."""

import numpy as np
import pytest

from tinydiff.metrics import (
    frechet_distance,
    frechet_distance_of_gaussians,
    unbiased_frechet_distance,
)


def covariance(rng, d):
    root = rng.standard_normal((d, d))
    return root @ root.T


def test_of_gaussians_with_one_covariance_is_the_shift(rng):
    sigma, shift = covariance(rng, 5), rng.standard_normal(5)
    found = frechet_distance_of_gaussians(np.zeros(5), sigma, shift, sigma)
    assert found == pytest.approx(np.square(shift).sum(), rel=1e-12)


def test_of_commuting_covariances_compares_standard_deviations(rng):
    """With Σ = V diag(s²) Vᵀ and Σ' = V diag(s'²) Vᵀ: d² = ‖s − s'‖²"""
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    s, other = rng.uniform(0.1, 3, (2, 6))
    zero = np.zeros(6)
    found = frechet_distance_of_gaussians(
        zero, basis * s**2 @ basis.T, zero, basis * other**2 @ basis.T
    )
    assert found == pytest.approx(np.square(s - other).sum(), rel=1e-10)


def test_in_the_plane(rng):
    """For 2 × 2: Tr M^½ = √(Tr M + 2 √det M), also for M = ΣΣ', which is not symmetric."""
    a, b = covariance(rng, 2), covariance(rng, 2)
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    found = frechet_distance_of_gaussians([1, 2], a, [0, 0], b)
    assert found == pytest.approx(5 + np.trace(a) + np.trace(b) - 2 * root, rel=1e-10)


def test_singular_covariances(rng):
    """Lines at the angle φ: d² = s² + s'² − 2 s s' |cos φ|; and a point, without any spread."""
    u, v = np.array([1.0, 0, 0]), np.array([np.cos(0.7), np.sin(0.7), 0])
    zero = np.zeros(3)
    found = frechet_distance_of_gaussians(zero, 4 * np.outer(u, u), zero, 9 * np.outer(v, v))
    assert found == pytest.approx(4 + 9 - 12 * np.cos(0.7), rel=1e-12)
    point = np.zeros((3, 3))
    assert frechet_distance_of_gaussians(zero, point, u, 4 * np.outer(u, u)) == pytest.approx(5)


def test_of_a_sample_and_itself_moved(rng):
    """More features than pictures, far from 0: singular, and nothing but the shift is left."""
    x = (1e3 + rng.standard_normal((30, 50))).astype(np.float32)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + np.float32(2)) == pytest.approx(4 * 50, rel=1e-5)
    assert frechet_distance(x, 2 * x) == pytest.approx(frechet_distance(2 * x, x), rel=1e-12)


def test_divides_by_one_less_than_pictures():
    """s² is 2 and 8 with N − 1, so d² = (√2 − √8)² = 2"""
    assert frechet_distance(np.array([[-1], [1]]), np.array([[-2], [2]])) == pytest.approx(2)


def test_bias_and_error(rng):
    """d² of N(0, I) and N(m, I) is ‖m‖²; drawn 60 times, n pictures of each."""
    d, n, shift = 8, 200, 0.2
    plain, estimates = [], []
    for _ in range(60):
        a, b = rng.standard_normal((2, n, d))
        plain.append(frechet_distance(a, b + shift))
        estimates.append(unbiased_frechet_distance(a, b + shift))
    values = np.array([e.value for e in estimates])
    true = d * shift**2
    scatter = values.std(ddof=1)
    assert np.mean(plain) > true + 5 * np.std(plain) / np.sqrt(60), "n pictures look too far apart"
    assert abs(values.mean() - true) < 4 * scatter / np.sqrt(60)
    said = np.sqrt(np.mean([e.error**2 for e in estimates]))
    assert 0.7 < said / scatter < 1.4


@pytest.mark.parametrize("each", [100, 15])
def test_samples_of_chosen_numbers_a_class(rng, each):
    """Two classes far apart, half of each: only with labels do bias and error come out right."""
    d, shift, labels = 4, 0.2, np.arange(2 * each) % 2
    sides = (20.0 * labels - 10)[:, None]
    found = {"labels": [], "none": []}
    for _ in range(40):
        a, b = sides + rng.standard_normal((2, 2 * each, d))
        order = rng.permutation(2 * each)  # what is of the same mix need not be in the same order
        a, b, of = a, b[order] + shift, (labels, labels[order])
        found["labels"].append(unbiased_frechet_distance(a, b, labels=of, parts=min(20, each)))
        found["none"].append(unbiased_frechet_distance(a, b, parts=min(20, each)))
    values = np.array([e.value for e in found["labels"]])
    scatter = values.std(ddof=1)
    assert abs(values.mean() - d * shift**2) < 4 * scatter / np.sqrt(40)
    said = np.sqrt(np.mean([e.error**2 for e in found["labels"]]))
    assert 0.6 < said / scatter < 1.5
    assert np.mean([e.value for e in found["none"]]) < d * shift**2 - 1


X = np.zeros((50, 3))
REFUSED = {
    "a list": ((X.tolist(), X), TypeError, "first sample: expected a NumPy array"),
    "texts": ((X, X.astype(str)), TypeError, "second sample: expected a NumPy array of numbers"),
    "pictures": ((X.reshape(5, 5, 3, 2), X), ValueError, r"expected features \(N, d\)"),
    "one picture": ((X[:1], X), ValueError, "N ≥ 2"),
    "other features": ((X, X[:, :2]), ValueError, "of one length in both samples, got 3 and 2"),
    "not finite": ((X, X + np.nan), ValueError, "second sample: expected finite"),
}


@pytest.mark.parametrize(("given", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(given, kind, message):
    with pytest.raises(kind, match=message):
        frechet_distance(*given)


def test_refuses_too_few_for_their_parts():
    with pytest.raises(ValueError, match="N ≥ 40"):
        unbiased_frechet_distance(X, X[:39])
