"""Sums over rows on the device against their plain twin in float64."""

import numpy as np
import pytest
from cuda_cases import device, largest_error

from tinydiff.kernels import cuda, plain
from tinydiff.kernels.cuda import sums


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 40), (7,), (63, 33), (64, 3), (300, 64), (1001, 1), (2, 5, 67, 33)]
)
def test_as_the_plain_twin(shape, dtype, tolerance, rng):
    (a,) = device([rng.standard_normal(shape) + 1], dtype)
    got = cuda.sum_rows(a)
    assert got.dtype == dtype
    assert largest_error(got, plain.sum_rows(a.astype(np.float64))) < tolerance


def test_as_many_blocks_as_rows_allow(rng, monkeypatch):
    monkeypatch.setattr(sums, "_LEAST", 1)
    monkeypatch.setattr(sums, "_FILL", 6)
    for rows in range(1, 30):
        (a,) = device([rng.standard_normal((rows, 70))], np.float64)
        assert largest_error(cuda.sum_rows(a), plain.sum_rows(a)) < 1e-13


def test_views(rng):
    (a,) = device([rng.standard_normal((6, 8, 10))], np.float64)
    assert largest_error(cuda.sum_rows(a[::2].T), plain.sum_rows(a[::2].T)) < 1e-13
