"""The gradient of an embedding on the device against its plain twin in float64."""

import numpy as np
import pytest
from cuda_cases import device, largest_error

from tinydiff.kernels import cuda, plain


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize(
    "shape, rows, columns", [((1,), 1, 1), ((128,), 11, 40), ((3, 7), 50, 33), ((1000,), 3, 2)]
)
def test_as_the_plain_twin(shape, rows, columns, dtype, tolerance, rng):
    index = rng.integers(rows, size=shape)
    (g,) = device([rng.standard_normal((*shape, columns))], dtype)
    got = cuda.sum_picked(g, index, rows)
    assert got.dtype == dtype and got.shape == (rows, columns)
    assert largest_error(got, plain.sum_picked(g.astype(np.float64), index, rows)) < tolerance


def test_added_up_in_the_order_in_which_they_were_picked():
    """Any other order rounds to another number."""
    index = np.array([2, 0, 2, 2, 1, 2], np.uint8)
    (g,) = device([[[1.0], [5.0], [1e8], [-1e8], [7.0], [1.0]]], np.float32)
    got = cuda.sum_picked(g, index, 4).get()
    np.testing.assert_array_equal(got, [[5], [7], [1], [0]])


def test_views_and_nothing(rng):
    index = rng.integers(5, size=(4, 6))
    (g,) = device([rng.standard_normal((3, 6, 4))], np.float64)
    assert largest_error(cuda.sum_picked(g.T, index, 5), plain.sum_picked(g.T, index, 5)) < 1e-14
    assert not cuda.sum_picked(g[:0, :], index[:0], 5).get().any()
