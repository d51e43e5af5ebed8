"""The Fréchet distance against the formula as FID's programs have it, with scipy's matrix root."""

import numpy as np
import pytest

from tinydiff.metrics import frechet_distance

linalg = pytest.importorskip("scipy.linalg")
pytestmark = pytest.mark.oracle


def fid(a, b):
    sigma, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.atleast_2d(linalg.sqrtm(np.atleast_2d(sigma @ other))).real
    shift = a.mean(axis=0) - b.mean(axis=0)
    return shift @ shift + np.trace(sigma) + np.trace(other) - 2 * np.trace(root)


@pytest.mark.parametrize(("n", "m", "d"), [(50, 80, 2), (300, 200, 20), (1000, 1500, 128)])
def test_agrees(n, m, d, rng):
    a = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    b = rng.standard_normal((m, d)) @ rng.standard_normal((d, d)) + 1
    assert frechet_distance(a, b) == pytest.approx(fid(a, b), rel=1e-8)


def test_agrees_where_fewer_pictures_than_features_are_singular(rng):
    a, b = rng.standard_normal((2, 10, 30))
    # scipy's root of a singular matrix is good to the root of the rounding errors
    assert frechet_distance(a, b) == pytest.approx(fid(a, b), rel=1e-4)
