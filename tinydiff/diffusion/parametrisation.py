"""What a network may predict, and how one prediction becomes another: all of it is here.

Seen from a noisy picture, x0 and ε are two unknowns on one line,

    x_t = α x_0 + σ ε

and a network's output y is a second line, which pins them down.  Each table below gives the two
factors of such a line, for any α and σ (`NoiseSchedule`: α = √ᾱ, σ = √(1−ᾱ); rectified flow:
α = 1 − s, σ = s; EDM: α = 1):

    TARGET   y   = a x_0 + b ε        what the network learns to say
    TO_X0    x_0 = a x_t + b y        what it then says about x_0 …
    TO_EPS   ε   = a x_t + b y        … and about ε

b of TO_X0 is also how far an error in y moves x_0, which `tinydiff.diffusion.weights` needs.

Sources: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020 (eps); T. Salimans and
J. Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022, section 4 (x0, v);
Y. Song et al., "Score-Based Generative Modeling through SDEs", 2021 (score); X. Liu et al., "Flow
Straight and Fast", 2022 (flow: the velocity dx_s/ds of the straight line x_s = (1−s) x_0 + s ε).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinydiff.backend import asarray

Factors = Callable[[np.ndarray, np.ndarray], tuple]

TARGET: dict[str, Factors] = {
    "eps": lambda alpha, sigma: (0, 1),
    "x0": lambda alpha, sigma: (1, 0),
    "v": lambda alpha, sigma: (-sigma, alpha),
    "score": lambda alpha, sigma: (0, -1 / sigma),
    "flow": lambda alpha, sigma: (-1, 1),
}
TO_X0: dict[str, Factors] = {
    "eps": lambda alpha, sigma: (1 / alpha, -sigma / alpha),
    "x0": lambda alpha, sigma: (0, 1),
    "v": lambda alpha, sigma: (alpha / (alpha**2 + sigma**2), -sigma / (alpha**2 + sigma**2)),
    "score": lambda alpha, sigma: (1 / alpha, sigma**2 / alpha),
    "flow": lambda alpha, sigma: (1 / (alpha + sigma), -sigma / (alpha + sigma)),
}
TO_EPS: dict[str, Factors] = {
    "eps": lambda alpha, sigma: (0, 1),
    "x0": lambda alpha, sigma: (1 / sigma, -alpha / sigma),
    "v": lambda alpha, sigma: (sigma / (alpha**2 + sigma**2), alpha / (alpha**2 + sigma**2)),
    "score": lambda alpha, sigma: (0, -sigma),
    "flow": lambda alpha, sigma: (1 / (alpha + sigma), alpha / (alpha + sigma)),
}


def target(prediction: str, x0, eps, alpha, sigma):
    """What a network that predicts ``prediction`` should answer.

    x0, eps       pictures (N, ...), arrays or Tensors
    alpha, sigma  a number for each picture, (N,) on the host, or one for all

    Raises ValueError for an unknown prediction, or one that is infinite here (the score at σ = 0).
    """
    return _line(TARGET, prediction, x0, eps, alpha, sigma)


def to_x0(prediction: str, x_t, output, alpha, sigma):
    """x_0, according to the network's output (N, ...) for x_t; arguments as in `target`.

    Raises ValueError where the output leaves x_0 open: ε and the score do at α = 0.
    """
    return _line(TO_X0, prediction, x_t, output, alpha, sigma)


def to_eps(prediction: str, x_t, output, alpha, sigma):
    """ε, according to the network's output (N, ...) for x_t; arguments as in `target`.

    Raises ValueError where the output leaves ε open: x_0 does at σ = 0.
    """
    return _line(TO_EPS, prediction, x_t, output, alpha, sigma)


def factors(table: dict[str, Factors], prediction: str, alpha, sigma) -> tuple:
    """The two factors of a line, float64 on the host, or Python's 0 and ±1 where they always are.

    Raises ValueError for an unknown prediction, or a factor that is not finite.
    """
    check_prediction(prediction)
    alpha, sigma = np.asarray(alpha, np.float64), np.asarray(sigma, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        both = table[prediction](alpha, sigma)
    if not all(np.isfinite(factor).all() for factor in both):
        raise ValueError(
            f"prediction: {prediction!r} says nothing at the moments asked for: alpha is "
            f"{alpha.min():.3g} … {alpha.max():.3g}, sigma {sigma.min():.3g} … {sigma.max():.3g}"
        )
    return both


def check_prediction(prediction: str) -> None:
    """Raise ValueError unless it is one of the five."""
    if prediction not in TARGET:
        raise ValueError(f"prediction: expected {', '.join(map(repr, TARGET))}, got {prediction!r}")


def check_pictures(x, **others):
    """x, if it is a floating-point (N, ...) array and the others are of its shape and dtype."""
    if x.dtype.kind != "f" or x.ndim < 1:
        raise TypeError(
            "expected floating-point pictures (N, ...) in [−1, 1], "
            f"got {x.dtype} of shape {x.shape}"
        )
    for name, other in others.items():
        if other.shape != x.shape or other.dtype != x.dtype:
            raise ValueError(
                f"{name}: expected {x.dtype} of shape {x.shape} like the other picture, "
                f"got {other.dtype} of shape {other.shape}"
            )
    return x


def column(numbers, x):
    """Numbers (N,) on the host, or one, as an array of x's dtype that multiplies x (N, ...)."""
    return asarray(np.reshape(numbers, (-1, *[1] * (x.ndim - 1))), dtype=x.dtype)


def _line(table, prediction, x, y, alpha, sigma):
    """a x + b y, with the factors of one of the tables"""
    check_pictures(x, output=y)
    terms = [
        picture if _always(1, factor) else picture * column(factor, picture)
        for picture, factor in zip((x, y), factors(table, prediction, alpha, sigma), strict=True)
        if not _always(0, factor)
    ]
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]


def _always(n: int, factor) -> bool:
    return isinstance(factor, int) and factor == n
