"""A number measured on a sample of pictures, and how far it may be trusted.

A metric measured again on other pictures gives another number; the standard error is how much
those numbers scatter.  Two ways to it are here:

share      of n pictures a share p has a property: p is binomial.  √(p(1−p)/n) would promise
           certainty where all n have it, or none; Wilson's half-width, at one standard deviation,
           does not:  √(p(1−p)/n + 1/4n²) / (1 + 1/n)
jackknife  any statistic of two samples, measured again without the g-th of G parts of each:
           θ_(g).  Where its bias falls as 1/n,
               θ̂ = G·θ − (G−1)·mean θ_(g),    error² = (G−1)/G · Σ_g (θ_(g) − mean θ_(g))²
           are free of that bias, and the standard error.

Sources: E. Wilson, "Probable inference, the law of succession, and statistical inference", 1927;
B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982, chapters 2 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error; f"{estimate:.1%}" writes both, as 97.3% ± 0.5%."""

    value: float
    error: float

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} ± {self.error:{spec}}"


def share(hits: np.ndarray) -> Estimate:
    """The share of True among booleans (N,), with Wilson's standard error."""
    hits = np.asarray(hits)
    if hits.ndim != 1 or hits.size == 0 or hits.dtype != bool:
        raise ValueError(
            f"hits: expected booleans (N,), N ≥ 1, got {hits.dtype} of shape {hits.shape}"
        )
    n, p = len(hits), float(hits.mean())
    return Estimate(p, math.sqrt(p * (1 - p) / n + 1 / (4 * n * n)) / (1 + 1 / n))


def jackknife(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    a: np.ndarray,
    b: np.ndarray,
    *,
    labels: tuple[np.ndarray, np.ndarray] | None = None,
    parts: int = 20,
) -> Estimate:
    """statistic(a, b) of two independent samples, without its bias of order 1/n, and its error.

    Row i belongs to part i mod ``parts``: let random samples be in random order.

    labels  the classes of a and of b, if the number of each class was chosen, not drawn.  Every
            part then has as many of a class as the others, so that chance in the mix of classes,
            which is not there, counts neither as bias nor as error.  For that, parts may be fewer,
            and rows that would be left over are not used.

    Raises ValueError unless 2 ≤ parts ≤ the length of both, and for a class with a single row.
    """
    if labels is not None:
        counts = np.concatenate([np.unique(of, return_counts=True)[1] for of in labels])
        parts = _parts_that_fit(counts, parts)
        a, b = (x[_dealt(of, parts)] for x, of in zip((a, b), labels, strict=True))
    if not 2 <= parts <= min(len(a), len(b)):
        raise ValueError(
            f"parts: expected 2 … {min(len(a), len(b))}, no more than there are rows, got {parts}"
        )
    whole = statistic(a, b)
    left_out = np.array(
        [
            statistic(*(np.delete(x, np.s_[part::parts], axis=0) for x in (a, b)))
            for part in range(parts)
        ]
    )
    value = parts * whole - (parts - 1) * left_out.mean()
    return Estimate(float(value), float(math.sqrt((parts - 1) * left_out.var())))


def _parts_that_fit(counts: np.ndarray, most: int) -> int:
    """How many parts, of ``most`` down to about half of them, leave the fewest rows over."""
    most = min(most, counts.min())
    if most < 2:
        raise ValueError("labels: expected at least 2 rows of every class, got 1")
    return min(range(most, max(2, most // 2) - 1, -1), key=lambda parts: (counts % parts).sum())


def _dealt(labels: np.ndarray, parts: int) -> np.ndarray:
    """Which rows to take, class by class: of each a multiple of ``parts``."""
    rows = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    return np.concatenate([r[: len(r) - len(r) % parts] for r in rows])
