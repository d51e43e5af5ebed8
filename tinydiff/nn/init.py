"""How parameters begin.  Drawn from `backend.rng`, so `tinydiff.seed` fixes them.

The rules are PyTorch's defaults.  A value that is a sum of n products keeps the variance of its
terms' order if the weights have variance ∝ 1/n, so the bounds shrink with √n.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import backend
from tinydiff.nn.module import Parameter


def uniform(shape: tuple[int, ...], bound: float) -> Parameter:
    """U(−bound, bound)"""
    return Parameter(backend.rng.uniform(-bound, bound, shape).astype(np.float32))


def by_fan_in(shape: tuple[int, ...], fan_in: int) -> Parameter:
    """U(−1/√fan_in, 1/√fan_in), for weight and bias alike    (He et al. 2015 with a = √5)"""
    return uniform(shape, 1 / math.sqrt(fan_in))


def xavier(shape: tuple[int, int]) -> Parameter:
    """U(−b, b) with b = √(6 / (in + out)), for a matrix (in, out)    (Glorot & Bengio 2010)"""
    return uniform(shape, math.sqrt(6 / sum(shape)))


def normal(shape: tuple[int, ...], std: float = 1.0) -> Parameter:
    """N(0, std²)"""
    return Parameter(std * backend.rng.standard_normal(shape, dtype=np.float32))


def zeros(shape: tuple[int, ...]) -> Parameter:
    return Parameter(np.zeros(shape, np.float32))


def ones(shape: tuple[int, ...]) -> Parameter:
    return Parameter(np.ones(shape, np.float32))
