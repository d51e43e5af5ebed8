"""What the tests of CUDA kernels share."""

import numpy as np

from tinydiff.backend import xp


def device(arrays, dtype) -> list:
    """Host arrays (None aside) on the device"""
    return [None if a is None else xp.asarray(np.asarray(a, dtype)) for a in arrays]


def largest_error(got, expected) -> float:
    """The largest deviation, over the largest number expected"""
    got, expected = (np.asarray(a.get(), np.float64) for a in (got, expected))
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-30))
