"""Group norm and its relatives on the device against their plain twin in float64."""

import numpy as np
import pytest
from cuda_cases import device, largest_error

from tinydiff import ops
from tinydiff.kernels import cuda, plain
from tinydiff.kernels.cuda import image_norm
from tinydiff.tensor import Tensor

SHAPES = [  # N, L, C, groups
    (1, 1, 1, 1),
    (2, 1000, 1, 1),
    (3, 2, 3, 3),
    (2, 33, 70, 7),
    (1, 5, 512, 32),
    (2, 17, 512, 1),
    (1, 1000, 33, 33),
    (5, 40, 6, 2),
    (2, 20, 600, 3),  # several blocks of channels
    (3, 1, 70, 1),  # rows of a warp
    (3, 1, 2000, 1),  # of a block
    (20, 1, 12, 4),
]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def both(arrays, groups, silu=False, dtype=np.float64, kernels=(cuda, plain)):
    """All results of group norm and its gradient, on the device and from the plain twin"""
    for module, kind in zip(kernels, (dtype, np.float64), strict=True):
        x, weight, bias, g = device([np.asarray(a, dtype) for a in arrays], kind)
        y, saved, mean, variance = module.group_norm(x, weight, bias, groups, 1e-5, silu)
        gradients = module.group_norm_grad(g, saved, weight)
        yield y, mean, variance, *gradients


def arrays_of(rng, n, pixels, channels, scale=2.0, offset=0.5):
    shape = n, pixels, channels
    x = scale * rng.standard_normal(shape) + offset
    weight, bias = rng.standard_normal((2, channels))
    return x, weight, bias, rng.standard_normal(shape) + 0.2


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_as_the_plain_twin(shape, dtype, rng):
    *sizes, groups = shape
    arrays = arrays_of(rng, *sizes)
    for silu in (False, True):
        for i, (a, b) in enumerate(zip(*both(arrays, groups, silu, dtype), strict=True)):
            assert a.dtype == dtype
            if np.abs(b.get()).max() > 1e-9:  # a group of one number has no gradient
                assert largest_error(a, b) < TOLERANCE[dtype], f"result {i}, silu={silu}"


@pytest.mark.parametrize("strips", [1, 2, 7, 37])
def test_any_number_of_strips(strips, rng, monkeypatch):
    monkeypatch.setattr(image_norm, "_SHORTEST", 1)
    monkeypatch.setattr(image_norm, "_MOST", strips)
    monkeypatch.setattr(image_norm, "_FILL", strips * 2 * 12)
    for a, b in zip(*both(arrays_of(rng, 2, 37, 12), 3, True), strict=True):
        assert largest_error(a, b) < 1e-13
    for a, b in zip(*both(arrays_of(rng, 37, 1, 12), 3, True), strict=True):
        assert largest_error(a, b) < 1e-13


@pytest.mark.parametrize("sizes", [(2, 500, 6), (4, 1, 300)], ids=str)
def test_far_from_zero_no_digits_are_lost(sizes, rng):
    arrays = arrays_of(rng, *sizes, scale=1.0, offset=1e4)
    groups = 3 if sizes[1] > 1 else 1
    got, wanted = both(arrays, groups, dtype=np.float32)
    assert largest_error(got[2], wanted[2]) < 1e-6  # the variance, where x has steps of 0.001
    assert largest_error(got[0], wanted[0]) < 1e-3  # the mean has such steps too
    outlier = arrays[0].copy()
    outlier[:, 0, 0] = 0  # nor where a strip, or a row, begins with something else
    got, wanted = both((outlier, *arrays[1:]), groups, dtype=np.float32)
    assert largest_error(got[2], wanted[2]) < 1e-5


def test_huge_and_constant_values():
    for x in (np.full((2, 9, 4), 1e30), np.linspace(-1e30, 1e30, 72).reshape(2, 9, 4)):
        for shape in ((2, 9, 4), (18, 1, 4)):
            ones, g = np.ones(4), np.ones(shape)
            for a in next(both((x.reshape(shape), ones, ones, g), 1, True, np.float32)):
                assert not np.isnan(a.get()).any()


def test_views_are_laid_out_first(rng):
    x, weight, bias, g = arrays_of(rng, 3, 12, 8)
    x, weight, bias, g = device([x, weight, bias, g], np.float64)
    wide = device([np.repeat(weight.get(), 2)], np.float64)[0]
    for view in (lambda a: a.swapaxes(0, 1), lambda a: a[:, ::2]):
        y, saved, _, _ = cuda.group_norm(view(x), wide[::2], bias, 2, 1e-5)
        wanted, plain_saved, _, _ = plain.group_norm(view(x), weight, bias, 2, 1e-5)
        assert largest_error(y, wanted) < 1e-13
        got = cuda.group_norm_grad(view(g), saved, wide[::2])
        for a, b in zip(got, plain.group_norm_grad(view(g), plain_saved, weight), strict=True):
            assert largest_error(a, b) < 1e-13


def test_twice_the_same_bits(rng):
    arrays = arrays_of(rng, 3, 300, 10)
    for a, b in zip(next(both(arrays, 5, True)), next(both(arrays, 5, True)), strict=True):
        np.testing.assert_array_equal(a.get(), b.get())


def test_other_dtypes_take_the_plain_kernel():
    x = device([np.ones((2, 3, 4))], np.float16)[0]
    one = device([np.ones(4)], np.float16)[0]
    assert cuda.group_norm(x, one, one, 2, 1e-5)[1][0] is plain


def test_all_norms_come_here(rng):
    x, weight, bias, _ = arrays_of(rng, 2, 20, 6)
    x, weight, bias = (Tensor(a, requires_grad=True) for a in device([x, weight, bias], np.float32))
    for norm_op in (ops.batch_norm, ops.instance_norm, ops.layer_norm):
        y = norm_op(x, weight, bias).numpy()
        axes = {"batch_norm": (0, 1), "instance_norm": 1, "layer_norm": 2}[norm_op.__name__]
        centred = x.numpy() - x.numpy().mean(axis=axes, keepdims=True)
        z = centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + 1e-5)
        np.testing.assert_allclose(y, z * weight.numpy() + bias.numpy(), atol=2e-5)
