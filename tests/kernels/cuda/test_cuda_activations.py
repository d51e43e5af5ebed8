"""SiLU and GELU on the device against their plain twins in float64."""

import numpy as np
import pytest
from cuda_cases import device, largest_error

from tinydiff.kernels import cuda, plain


@pytest.mark.parametrize("name", ["silu", "gelu", "silu_grad", "gelu_grad"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (2, 1000)])
def test_as_the_plain_twin(name, dtype, tolerance, shape, rng):
    arrays = [rng.standard_normal(shape) * 4 for _ in range(1 + name.endswith("grad"))]
    got = getattr(cuda, name)(*device(arrays, dtype))
    expected = getattr(plain, name)(*device(arrays, np.float64))
    assert got.dtype == dtype
    assert largest_error(got, expected) < tolerance


@pytest.mark.parametrize("name", ["silu", "gelu"])
def test_far_out(name):
    x = device([np.array([-1e30, -1e4, -200.0, 0.0, 200.0, 1e4, 1e30])], np.float32)[0]
    got = getattr(cuda, name)(x).get()
    np.testing.assert_array_equal(got, np.maximum(x.get(), 0))


def test_views_are_laid_out_first(rng):
    x = device([rng.standard_normal((6, 8))], np.float64)[0]
    assert largest_error(cuda.silu(x[::2, 1:].T), plain.silu(x[::2, 1:].T)) < 1e-14
