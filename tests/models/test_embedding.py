"""Times as vectors of waves, against the formula written out."""

import math

import numpy as np
import pytest

from tinydiff.backend import asarray, to_numpy
from tinydiff.models.embedding import sinusoidal_embedding


@pytest.mark.parametrize("size", [4, 6, 128])
@pytest.mark.parametrize("times", [[0], [0, 1, 500, 999], [0.25, 999.5]])
def test_formula(size, times):
    half = size // 2
    omega = [10000 ** (-k / (half - 1)) for k in range(half)]
    expected = [[math.sin(t * w) for w in omega] + [math.cos(t * w) for w in omega] for t in times]
    waves = to_numpy(sinusoidal_embedding(asarray(np.array(times)), size))
    assert waves.shape == (len(times), size) and waves.dtype == np.float32
    np.testing.assert_allclose(waves, expected, rtol=0, atol=1e-7)


def test_the_waves_run_from_period_2_pi_to_10000_times_that():
    waves = to_numpy(sinusoidal_embedding(asarray([1]), 8))
    np.testing.assert_allclose(waves[0, [0, 3]], [math.sin(1), math.sin(1e-4)], rtol=1e-6)


def test_neighbouring_times_differ():
    waves = to_numpy(sinusoidal_embedding(asarray(np.arange(1000)), 32))
    assert np.linalg.norm(np.diff(waves, axis=0), axis=1).min() > 0.5


@pytest.mark.parametrize("size", [0, 2, 3, 127])
def test_refused_sizes(size):
    with pytest.raises(ValueError, match=f"size is {size}, expected an even number ≥ 4"):
        sinusoidal_embedding(asarray([0]), size)
