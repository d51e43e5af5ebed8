"""How sure n draws are of a share: the exact bound of Clopper and Pearson, and the exact test of ½.

Of n draws k have what each has with probability p: P[X = k] = (n over k) pᵏ(1 − p)ⁿ⁻ᵏ.

    lower_bound   the p at which P[X ≥ k] = α: were p smaller, so many would be rarer than α.  It is
                  the α-quantile of the beta distribution of (k, n − k + 1), and α^(1/n) for k = n
    two_sided     P[|X − n/2| ≥ |k − n/2|] at p = ½: how often chance alone is so uneven

Both are sums over a binomial tail, whose terms grow smaller by known ratios.  Nothing is
approximated: a normal approximation would promise too much, most of all where all n agree.

Source: C. Clopper and E. Pearson, "The use of confidence or fiducial limits illustrated in the case
of the binomial", Biometrika 1934.
"""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np


def lower_bound(k: int, n: int, alpha: float) -> float:
    """What the probability is at least, if k of n draws had it: wrong in a share α of cases at most

    Raises ValueError or TypeError unless 0 ≤ k ≤ n, n ≥ 1, and 0 < alpha ≤ ½.
    """
    _check_share(k, n)
    check_level(alpha)
    if k == 0:
        return 0.0
    if k == n:
        return alpha ** (1 / n)
    low, high = 0.0, k / n  # where the tail is below α, and where it is at least ½
    while low < (middle := (low + high) / 2) < high:
        if _log_tail(k, n, middle) < math.log(alpha):
            low = middle
        else:
            high = middle
    return low


def two_sided(k: int, n: int) -> float:
    """The p-value of k among n draws if both outcomes are as likely; 1 for no draws.

    Raises ValueError or TypeError unless 0 ≤ k ≤ n.
    """
    _check_share(k, n, least=0)
    return min(1.0, 2 * math.exp(_log_tail(max(k, n - k), n, 0.5)))


def check_level(alpha: float) -> None:
    """Raise TypeError or ValueError unless alpha is a number, 0 < alpha ≤ ½."""
    if not isinstance(alpha, Real) or isinstance(alpha, bool):
        raise TypeError(f"alpha: expected a number, got {type(alpha).__name__}")
    if not 0 < alpha <= 0.5:
        raise ValueError(f"alpha is {alpha}, expected 0 < alpha ≤ ½")


def _log_tail(k: int, n: int, p: float) -> float:
    """ln P[X ≥ k], for 0 < p ≤ k/n, from where on each term is smaller than the one before

    P[X = j + 1]/P[X = j] = (n − j)/(j + 1) · p/(1 − p)
    """
    j = np.arange(k, n)
    ratios = (n - j) / (j + 1) * (p / (1 - p))
    first = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    first += k * math.log(p) + (n - k) * math.log1p(-p)
    return first + math.log1p(np.cumprod(ratios).sum())


def _check_share(k: int, n: int, least: int = 1) -> None:
    for name, value in (("k", k), ("n", n)):
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    if n < least or not 0 <= k <= n:
        raise ValueError(f"k is {k} and n is {n}, expected 0 ≤ k ≤ n, n ≥ {least}")
