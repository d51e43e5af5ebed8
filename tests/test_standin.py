"""The stand-in for CuPy refuses what CuPy refuses; were it lenient, it would prove nothing."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def cp():
    """The stand-in, loaded beside whatever else may be called cupy."""
    path = Path(__file__).parent / "standin" / "cupy" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "standin_cupy", path, submodule_search_locations=[str(path.parent)]
    )
    module = sys.modules["standin_cupy"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
