"""The probability a logistic distribution gives to a byte, and numbers drawn from it.

A picture has 256 levels x = −1, −1 + 2/255, …, 1, and F(y) = σ((y − μ)/s) gives each the mass of
its bin, 1/255 to either side; the first and the last bin are open, so that all sum to 1:

    P(x) = σ(b) − σ(a) = σ(b) σ(−a) (1 − e^{a−b}),      a, b = (x ∓ 1/255 − μ)/s

The product keeps the digits that the difference would lose.  Far from μ, ln P falls off like
−|x − μ|/s, where a Gaussian's falls like a square: a pixel that comes as a surprise costs less.

Source: T. Salimans et al., "PixelCNN++", 2017, section 2.1.
"""

from __future__ import annotations

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import xp
from tinydiff.tensor import Tensor

_LAST = 1 - 1 / 255  # beyond it, and below its negative, the bins are open


def log_probability(x, mean: Tensor, log_scale: Tensor) -> Tensor:
    """ln P(x) in nats: x an array of 256 levels in [−1, 1]; μ and ln s Tensors of its shape."""
    steepness = ops.exp(-log_scale)
    centre = (x - mean) * steepness
    half = steepness / 255
    # −softplus(−b) = ln σ(b), −softplus(a) = ln σ(−a): an open end takes its factor away.
    above = ops.softplus(-(centre + half)) * (x < _LAST).astype(x.dtype)
    below = ops.softplus(centre - half) * (x > -_LAST).astype(x.dtype)
    inside = (xp.abs(x) < _LAST).astype(x.dtype)
    bin_share = ops.log(1 - ops.exp(-2 * half) * inside)
    return bin_share - above - below


def draw(mean, log_scale, *, rng: np.random.Generator | None = None):
    """μ + s ln(u/(1−u)), u ~ U(0, 1), for arrays μ and ln s of one shape; not rounded to bytes."""
    u = backend.rand(mean.shape, rng=rng, dtype=mean.dtype) * (1 - 1e-6) + 5e-7
    return mean + xp.exp(log_scale) * xp.log(u / (1 - u))
