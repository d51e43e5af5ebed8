"""The exact binomial bound and test against scipy's."""

import numpy as np
import pytest

from tinydiff.adversarial.binomial import lower_bound, two_sided

stats = pytest.importorskip("scipy.stats")
pytestmark = pytest.mark.oracle
SIZES = [1, 2, 3, 10, 99, 100, 1000, 12345, 100_000]


def some(n):
    """Numbers of successes: all of a few, and of many those near the ends and others."""
    spread = np.unique(np.linspace(0, n, 25).round().astype(int))
    return np.unique([*spread, *range(min(n, 6) + 1), *range(max(0, n - 5), n + 1)])


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.05, 0.001, 1e-6, 1e-12])
@pytest.mark.parametrize("n", SIZES)
def test_the_lower_bound_is_the_quantile_of_beta(n, alpha):
    ks = some(n)[1:]
    expected = stats.beta.ppf(alpha, ks, n - ks + 1)
    got = [lower_bound(int(k), n, alpha) for k in ks]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("n", SIZES[:-2])
def test_the_lower_bound_is_that_of_the_exact_confidence_interval(n):
    for k in some(n):
        test = stats.binomtest(int(k), n, alternative="greater")
        expected = test.proportion_ci(0.999, method="exact").low
        assert lower_bound(int(k), n, 0.001) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_the_test_of_one_half(n):
    for k in some(n):
        expected = stats.binomtest(int(k), n, 0.5).pvalue
        assert two_sided(int(k), n) == pytest.approx(expected, rel=1e-9, abs=1e-300)
