"""Every op, over one table of cases: right derivative, dtype kept, strides of no importance."""

import numpy as np
import pytest
from ops.cases import CASES

import tinydiff as td
from tinydiff import Tensor, backend, ops
from tinydiff.backend import xp

every_case = pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.op}-{i}" for i, case in enumerate(CASES)]
)


def test_no_op_is_left_out():
    assert {case.op for case in CASES} == set(ops.__all__)


@every_case
def test_gradient_is_the_derivative(case, rng, seed):
    td.gradcheck(case.fn, *case.arrays(rng), seed=seed)


def leaves(arrays):
    """Tensors of the arrays; the floating-point ones require grad."""
    return [Tensor(a, requires_grad=a.dtype.kind == "f") for a in map(xp.asarray, arrays)]


def gradients(tensors):
    return [backend.to_numpy(t.grad) for t in tensors if t.requires_grad]


def run(case, arrays):
    """The value, and the gradients for a random gradient of the value, as NumPy arrays."""
    tensors = leaves(arrays)
    output = case.fn(*tensors)
    output.backward(np.random.default_rng(1).standard_normal(output.shape))
    return [output.numpy(), *gradients(tensors)]


def as_dtype(arrays, dtype):
    return [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]


@every_case
def test_float32_stays_float32(case, rng):
    arrays = as_dtype(case.arrays(rng), np.float32)
    single, double = run(case, arrays), run(case, as_dtype(arrays, np.float64))
    for a, b in zip(single, double, strict=True):
        assert (a.dtype, b.dtype) == (np.float32, np.float64)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * (1 + np.abs(b).max(initial=0)))


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strides_do_not_matter(case, rng, dtype):
    arrays = as_dtype(case.arrays(rng), dtype)
    tolerance = 100 * np.finfo(dtype).eps
    for a, b in zip(run(case, arrays), run(case, [*map(stretched, arrays)]), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def stretched(array):
    """The same values with gaps between them along every axis, and in memory back to front."""
    wide = xp.flip(xp.asarray(array))
    for axis in range(wide.ndim):
        wide = xp.repeat(wide, 2, axis=axis)
    return wide[(slice(None, None, -2),) * wide.ndim]


@every_case
def test_nothing_given_is_written_to(case, rng):
    arrays = [*map(xp.asarray, case.arrays(rng))]
    copies = [a.copy() for a in arrays]
    output = case.fn(*leaves(arrays))
    gradient = xp.asarray(rng.standard_normal(output.shape))
    arrays.append(gradient)
    copies.append(gradient.copy())
    output.backward(gradient)
    for array, copy in zip(arrays, copies, strict=True):
        assert bool((array == copy).all())


@every_case
def test_a_gradient_of_stride_zero_is_taken_like_any_other(case, rng):
    arrays = case.arrays(rng)
    summed, dense = leaves(arrays), leaves(arrays)
    case.fn(*summed).sum().backward()
    output = case.fn(*dense)
    output.backward(np.ones(output.shape))
    for a, b in zip(gradients(summed), gradients(dense), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["silu", "gelu", "relu", "sigmoid", "tanh", "exp", "dropout"])
def test_a_single_number_stays_one(name):
    """CuPy's ascontiguousarray makes a row of one of it."""
    f = {"dropout": lambda x: ops.dropout(x, p=0.5)}.get(name) or getattr(ops, name)
    x = Tensor(np.float32(0.5), requires_grad=True)
    y = f(x)
    y.backward()
    assert y.shape == x.grad.shape == ()
