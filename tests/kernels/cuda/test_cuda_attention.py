"""Softmax and attention on the device against their plain twins in float64."""

import numpy as np
import pytest
from cuda_cases import device, largest_error

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.kernels import cuda, plain
from tinydiff.kernels.cuda import block_attention
from tinydiff.kernels.cuda.product import product

TOLERANCE = {np.float32: 5e-6, np.float64: 1e-13}


@pytest.fixture(autouse=True)
def _all_digits(monkeypatch):
    monkeypatch.setattr(backend, "tf32", False)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1,), (3, 1), (9, 33), (2, 2, 1024), (3, 2500)], ids=str)
def test_softmax(shape, dtype, rng):
    x = device([4 * rng.standard_normal(shape)], dtype)[0]
    got = cuda.softmax(x)
    assert got.dtype == dtype
    assert largest_error(got, plain.softmax(x.astype(np.float64))) < TOLERANCE[dtype]
    np.testing.assert_allclose(got.get().sum(axis=-1), 1, rtol=1e-5)


def test_softmax_of_extremes_and_other_axes(rng):
    x = device([[1e30, -1e30, 1e30], [-np.inf, 0.0, -np.inf], [-1e5, -1e5, -1e5]], np.float32)
    got = np.stack([cuda.softmax(row).get() for row in x])
    np.testing.assert_allclose(got, [[0.5, 0, 0.5], [0, 1, 0], [1 / 3] * 3], rtol=1e-6)
    y = device([rng.standard_normal((4, 5, 6))], np.float64)[0]
    for axis in (0, 1, 2, -1):
        assert largest_error(cuda.softmax(y, axis), plain.softmax(y, axis)) < 1e-13
    assert largest_error(cuda.softmax(y[:, ::2].T), plain.softmax(y[:, ::2].T)) < 1e-13
    assert cuda.softmax(y[:0]).shape == (0, 5, 6)


def check(arrays, mask, scale, dtype, layout=lambda a: a):
    """Attention and all its gradients, on arrays laid out as ``layout`` has it"""
    q, k, v, g = (layout(a) for a in device(arrays, dtype))
    mask = None if mask is None else device([mask], dtype)[0]
    y, saved = cuda.attention(q, k, v, mask, scale)
    out = [xp.zeros_like(a) for a in (q, k, v)]
    gmask = cuda.attention_grad(g, q, k, v, mask, saved, scale, out)
    q, k, v, g = (a.astype(np.float64) for a in (q, k, v, g))
    mask = mask if mask is None else mask.astype(np.float64)
    wanted, saved = plain.attention(q, k, v, mask, scale)
    into = [xp.empty_like(a) for a in (q, k, v)]
    gwanted = plain.attention_grad(g, q, k, v, mask, saved, scale, into)
    assert y.dtype == dtype
    for i, (a, b) in enumerate(zip([y, *out], [wanted, *into], strict=True)):
        assert largest_error(a, b) < TOLERANCE[dtype], f"result {i}"
    if mask is not None:
        gmask, gwanted = (_summed_to(mask.shape, a) for a in (gmask, gwanted))
        assert np.abs((gmask - gwanted).get()).max() < 20 * TOLERANCE[dtype]


def _summed_to(shape, a):
    full = (1,) * (a.ndim - len(shape)) + shape
    axes = tuple(i for i, n in enumerate(full) if n == 1)
    return a.sum(axis=axes, keepdims=True).reshape(shape)


def qkvg(rng, lead, t, s, d, e):
    return [rng.standard_normal((*lead, *shape)) for shape in ((t, d), (s, d), (s, e), (t, e))]


CASES = [  # leading axes, T, S, d, e, the mask's leading axes and whether T and S are its own
    ((), 1, 1, 1, 1, None),
    ((), 5, 7, 3, 2, ()),
    ((3,), 4, 33, 8, 5, (1,)),
    ((2, 3), 9, 6, 4, 4, None),
    ((2, 3), 9, 6, 4, 4, ()),
    ((2, 3), 9, 6, 4, 4, (2, 1)),
    ((4, 1), 6, 5, 2, 2, (4, 1)),
    ((1, 5), 6, 5, 2, 2, (5,)),
    ((2, 1, 3), 5, 4, 2, 3, None),
    ((2, 1, 3), 5, 4, 2, 3, (1, 3)),  # the plain kernel's
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("workspace", [1 << 28, 3000, 200, 1])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_the_plain_twin(case, workspace, dtype, rng, monkeypatch):
    monkeypatch.setattr(block_attention, "WORKSPACE", workspace)
    lead, t, s, d, e, of_mask = case
    mask = None
    if of_mask is not None:
        mask = rng.standard_normal((*of_mask, t, s))
        mask[..., 1:][rng.random((*of_mask, t, s - 1)) < 0.3] = -np.inf
    check(qkvg(rng, lead, t, s, d, e), mask, d**-0.5, dtype)


@pytest.mark.parametrize("shape", [(1, 6), (5, 1), (1, 1)])
def test_masks_for_all_queries_or_keys(shape, rng, monkeypatch):
    monkeypatch.setattr(block_attention, "WORKSPACE", 500)
    check(qkvg(rng, (2, 3), 5, 6, 4, 4), rng.standard_normal(shape), 0.5, np.float64)


@pytest.mark.parametrize("workspace", [1 << 28, 500])
def test_any_layout(workspace, rng, monkeypatch):
    monkeypatch.setattr(block_attention, "WORKSPACE", workspace)
    arrays = qkvg(rng, (2, 3), 7, 7, 4, 4)

    def side_by_side(a):
        return xp.ascontiguousarray(a.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)

    def columns(a):
        return xp.ascontiguousarray(a.swapaxes(2, 3)).swapaxes(2, 3)

    def spread(a):
        return a.repeat(2, axis=3)[..., ::2]

    def backwards(a):
        return xp.flip(xp.ascontiguousarray(xp.flip(a, axis=(0, 1))), axis=(0, 1))

    for layout in (side_by_side, columns, spread, backwards):
        check(arrays, None, 0.5, np.float64, layout)


def test_gradients_that_are_views_of_one_number(rng):
    q, k, v, _ = device(qkvg(rng, (2,), 6, 5, 4, 3), np.float64)
    g = xp.broadcast_to(xp.full((1, 1, 1), 2.0), (2, 6, 3))
    _, saved = cuda.attention(q, k, v, None, 0.5)
    _, p = plain.attention(q, k, v, None, 0.5)
    got, wanted = ([xp.empty_like(a) for a in (q, k, v)] for _ in range(2))
    cuda.attention_grad(g, q, k, v, None, saved, 0.5, got)
    plain.attention_grad(g, q, k, v, None, p, 0.5, wanted)
    for a, b in zip(got, wanted, strict=True):
        assert np.abs((a - b).get()).max() < 1e-14


def test_long_rows_take_a_block_each(rng):
    check(qkvg(rng, (), 2, 1500, 3, 3), None, 0.5, np.float32)


def test_large_scores(rng):
    q, k, v, g = qkvg(rng, (2,), 4, 5, 3, 3)
    check([100 * q, 100 * k, v, g], None, 1.0, np.float64)


@pytest.mark.parametrize("lead", [(5,), (2, 3), (1, 4), (2, 2, 2), ()])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_products_of_batches(lead, dtype, rng):
    a, b = device([rng.standard_normal((*lead, *s)) for s in ((4, 5), (5, 6))], dtype)
    for left, right in ((a, b), (b.swapaxes(-1, -2), a.swapaxes(-1, -2)), (a[..., ::2, :], b)):
        got, wanted = cuda.matmul(left, right), left.astype("d") @ right.astype("d")
        assert got.dtype == dtype and largest_error(got, wanted) < TOLERANCE[dtype]
    got = cuda.matmul(xp.broadcast_to(a, (3, *a.shape)), b)  # leading axes that differ
    assert largest_error(got, xp.broadcast_to(a @ b, got.shape)) < TOLERANCE[dtype]


@pytest.mark.parametrize("lead", [(5,), (2, 3)])
def test_batches_are_multiplied_in_tf32_too(lead, monkeypatch):
    asked = []
    gemm = xp.cuda.cublas.gemmStridedBatchedEx
    noted = lambda *args: asked.append(args[-2]) or gemm(*args)
    monkeypatch.setattr(xp.cuda.cublas, "gemmStridedBatchedEx", noted)
    a = xp.ones((*lead, 2, 2), np.float32)
    for allowed in (True, False):
        monkeypatch.setattr(backend, "tf32", allowed)
        cuda.matmul(a, a)
    assert asked == [
        xp.cuda.cublas.CUBLAS_COMPUTE_32F_FAST_TF32,
        xp.cuda.cublas.CUBLAS_COMPUTE_32F,
    ]


def test_products_are_scaled_and_added(rng):
    a, b, out = device(
        [rng.standard_normal(s) for s in ((2, 3, 4, 5), (2, 3, 5, 6), (2, 3, 4, 6))], np.float64
    )
    wanted = 2 * (a @ b) + 3 * out
    product(a, b, out, 2.0, 3.0)
    assert largest_error(out, wanted) < 1e-14
    out.fill(np.nan)
    product(a, b, out)  # keep = 0: what was there does not count
    assert largest_error(out, a @ b) < 1e-14


@pytest.mark.parametrize("strides", ["rows", "columns", "neither", "heads"])
def test_products_into_views(strides, rng):
    a, b = device([rng.standard_normal(s) for s in ((2, 3, 4, 5), (2, 3, 5, 6))], np.float64)
    out = {
        "rows": lambda: xp.zeros((2, 3, 4, 9))[..., :6],
        "columns": lambda: xp.zeros((2, 3, 6, 4)).swapaxes(2, 3),
        "neither": lambda: xp.zeros((2, 3, 4, 12))[..., ::2],
        "heads": lambda: xp.zeros((2, 4, 3, 6)).swapaxes(1, 2),
    }[strides]()
    product(a, b, out)
    assert largest_error(out, a @ b) < 1e-14
    product(a[:1, :1, :1], b[:1, :1, :, :1], out[:1, :1, :1, :1], 1.0, 1.0)
    assert largest_error(out[:1, :1, :1, :1], 2 * (a @ b)[:1, :1, :1, :1]) < 1e-14
