"""The exact binomial bound and test, by their definitions in whole numbers."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from tinydiff.adversarial.binomial import lower_bound, two_sided


def tail(k, n, p):
    """P[X ≥ k], a Fraction"""
    return sum(comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))


@pytest.mark.parametrize("n", [1, 2, 7, 30, 101])
@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.001])
def test_the_tail_is_alpha_at_the_lower_bound(n, alpha):
    near = Fraction(1, 10**13)
    for k in {1, 2, n // 2, n - 1, n} & set(range(1, n + 1)):
        p = Fraction(lower_bound(k, n, alpha))
        assert tail(k, n, p - near) < alpha < tail(k, n, p + near)


def test_ends_are_exact():
    assert lower_bound(0, 100, 0.001) == 0
    assert lower_bound(100_000, 100_000, 0.001) == 0.001 ** (1 / 100_000)
    assert two_sided(0, 0) == 1 and two_sided(5, 10) == 1
    assert two_sided(10, 10) == two_sided(0, 10) == pytest.approx(2**-9, rel=1e-14)


@pytest.mark.parametrize("n", [20, 21])
def test_two_sided_is_the_share_that_is_at_least_as_uneven(n):
    chances = np.array([comb(n, j) for j in range(n + 1)]) / 2**n
    uneven = np.abs(np.arange(n + 1) - n / 2)
    for k in range(n + 1):
        expected = chances[uneven >= uneven[k]].sum()
        assert two_sided(k, n) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.001])
@pytest.mark.parametrize("n", [10, 60])
def test_is_too_high_with_probability_alpha_at_most(n, alpha):
    """Over all that n draws may say, weighed with how likely that is."""
    bounds = np.array([lower_bound(k, n, alpha) for k in range(n + 1)])
    assert (np.diff(bounds) > 0).all()
    worst = 0.0
    for p in np.linspace(0.01, 0.99, 99):
        chances = np.array([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])
        worst = max(worst, chances[bounds > p].sum())
    assert alpha / 3 < worst <= alpha


def test_large_numbers():
    """Where p is known to many digits: half, and none but one."""
    n = 1_000_000
    p = lower_bound(n // 2, n, 0.001)
    assert (0.5 - p) / (0.5 / n**0.5) == pytest.approx(3.0902, abs=0.005)
    assert lower_bound(1, n, 0.001) == pytest.approx(1 - 0.999 ** (1 / n), rel=1e-9)


REFUSED = [
    (lambda: lower_bound(3, 2, 0.1), ValueError, "k is 3 and n is 2"),
    (lambda: lower_bound(-1, 2, 0.1), ValueError, "k is -1"),
    (lambda: lower_bound(0, 0, 0.1), ValueError, "n is 0, expected .* n ≥ 1"),
    (lambda: lower_bound(1, 2, 0.0), ValueError, "alpha is 0.0"),
    (lambda: lower_bound(1, 2, 0.6), ValueError, "alpha is 0.6"),
    (lambda: lower_bound(1, 2, float("nan")), ValueError, "alpha is nan"),
    (lambda: lower_bound(1, 2, "0.1"), TypeError, "alpha: expected a number"),
    (lambda: lower_bound(1.0, 2, 0.1), TypeError, "k: expected an int"),
    (lambda: two_sided(1, 2.0), TypeError, "n: expected an int"),
    (lambda: two_sided(3, 2), ValueError, "k is 3"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()
