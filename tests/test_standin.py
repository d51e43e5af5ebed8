"""The stand-in for CuPy refuses what CuPy refuses; were it lenient, it would prove nothing."""

import numpy as np
import pytest
from cupy_names import has, names_used


@pytest.fixture(scope="module")
def cp(standin):
    return standin


HOST = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda cp, x: np.asarray(x),
        lambda cp, x: np.array([x, x]),
        lambda cp, x: np.add(x, x),
        lambda cp, x: np.exp(x),
        lambda cp, x: np.sum(x),
        lambda cp, x: np.concatenate([x, x]),
        lambda cp, x: x + HOST,
        lambda cp, x: HOST + x,
        lambda cp, x: x * [1.0, 2.0, 3.0],
        lambda cp, x: x < HOST,
        lambda cp, x: cp.add(x, HOST),
        lambda cp, x: cp.exp(HOST),
        lambda cp, x: cp.where(True, x, x),
        lambda cp, x: cp.where(x > 0, x, HOST),
        lambda cp, x: cp.concatenate([x, HOST]),
        lambda cp, x: cp.einsum("ij,ij->i", x, HOST),
        lambda cp, x: cp.zeros_like(HOST),
        lambda cp, x: cp.broadcast_to(HOST, (2, 2, 3)),
        lambda cp, x: cp.add.at(x, (cp.array([0]),), HOST[:1]),
        lambda cp, x: cp.add.at(cp.zeros(3, np.int64), cp.array([0]), 1),
        lambda cp, x: x.__setitem__(0, HOST[0]),
        lambda cp, x: x.__iadd__(HOST),
        lambda cp, x: x.max(initial=0),
        lambda cp, x: x.sum(where=x > 0),
        lambda cp, x: range(x.sum()),
        lambda cp, x: x.reshape(cp.array([3, 2])),
        lambda cp, x: x.sum(axis=cp.array(1)),
        lambda cp, x: x.repeat(cp.array(2)),
        lambda cp, x: cp.zeros((cp.array(2), 3)),
        lambda cp, x: cp.full(cp.array(2), 1.0),
        lambda cp, x: cp.split(x, cp.array([1])),
        lambda cp, x: cp.max(x, initial=0),
        lambda cp, x: cp.sum(x, where=x > 0),
        lambda cp, x: cp.zeros(3, like=x),
        lambda cp, x: cp.clip(x, min=0, max=1),
        lambda cp, x: cp.array(data=[1.0]),
        lambda cp, x: cp.array(["a"]),
        lambda cp, x: cp.zeros(3, object),
        lambda cp, x: x.flags.writeable,
        lambda cp, x: cp.vectorize,
        lambda cp, x: {x},
    ],
)
def test_refuses(cp, wrong):
    with pytest.raises((TypeError, ValueError, AttributeError)):
        wrong(cp, cp.asarray(HOST))


def test_answers_with_arrays_on_the_device(cp):
    x = cp.asarray(HOST)
    for y in (x.sum(), x[0, 1], x.max(axis=0), -x, 2 * x, np.float32(2) * x, cp.equal(1, 1), x.T):
        assert isinstance(y, cp.ndarray)
    assert x.sum().shape == ()
    assert float(x.sum()) == 15 and int(x[1, 2]) == 5 and bool(x.any()) and x.sum().item() == 15
    assert [row.shape for row in x] == [(3,), (3,)]
    assert type(x.get()) is np.ndarray


def test_shares_no_memory_with_the_host(cp):
    host = HOST.copy()
    x = cp.asarray(host)
    host[:] = -1
    x.get()[:] = -2
    np.testing.assert_array_equal(x.get(), HOST)
    view = x[0]
    view += 1  # but views of the device's memory are views
    np.testing.assert_array_equal(x.get()[0], HOST[0] + 1)


def test_wraps_around_out_of_bounds(cp):
    x = cp.arange(3)
    np.testing.assert_array_equal(x[cp.array([1, 3, -4])].get(), [1, 0, 2])
    np.testing.assert_array_equal(x.take(cp.array([4])).get(), [1])
    y = cp.asarray(HOST)
    np.testing.assert_array_equal(y[..., None, cp.array([4])].get(), HOST[..., None, [1]])
    np.testing.assert_array_equal(y[y > 2].get(), [3, 4, 5])
    np.testing.assert_array_equal(y[[3], np.array([1])].get(), HOST[[1], [1]])
    with pytest.raises(IndexError):
        x[3]


def test_leaves_operators_to_those_who_ask_for_it(cp):
    class Tensor:
        __array_ufunc__ = None

        def __radd__(self, other):
            return "mine"

    assert cp.arange(3) + Tensor() == "mine"


def test_works_in_place(cp):
    x = cp.asarray(HOST)
    y = x
    y += 1
    assert y is x
    cp.add.at(x, (cp.array([0, 0]),), 1)
    np.testing.assert_array_equal(x.get()[0], HOST[0] + 3)
    whole = cp.arange(3)
    with pytest.raises(TypeError):
        whole += 0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8, bool])
def test_new_memory_holds_rubbish(cp, dtype):
    """So that reading what was never written shows."""
    x = cp.arange(6).reshape(2, 3).astype(dtype)
    for new in (
        cp.empty((2, 3), dtype),
        cp.empty_like(x),
        cp.empty_like(x.T, order="K"),
        cp.empty_like(cp.zeros(3), dtype=dtype),
        cp.ndarray((2, 3), dtype),
    ):
        assert new.dtype == dtype
        if np.dtype(dtype).kind == "f":
            assert np.isnan(new.get()).all()
        else:
            assert (new.get() == np.array(-1).astype(dtype)).all()


def test_has_what_the_library_asks_of_it(cp):
    missing = {chain: file for chain, file in names_used().items() if not has(cp, chain)}
    assert missing == {}


def test_names_are_found_where_they_are_used():
    found = names_used("y = xp.add.at(x); cupy.cuda.Device().id; backend.xp.exp; np.log; xp.a[0].b")
    assert set(found) == {"add", "add.at", "cuda", "cuda.Device", "exp", "a"}
    found = names_used("from cupy import cuda; cuda.x; y = cuda.cublas; cublas.gemm(); runtime.R")
    assert set(found) == {"cuda.x", "cuda.cublas", "cuda.cublas.gemm", "cuda.runtime.R"}
