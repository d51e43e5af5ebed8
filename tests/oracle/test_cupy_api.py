"""The stand-in for CuPy is honest: what it offers, CuPy has; what CuPy refuses, it refuses.

CuPy can be imported without a GPU, and arrays made whose memory nobody touches: signatures, shapes,
strides and many refusals can be compared, results cannot.
"""

import importlib.util
import inspect
import re
import types
from pathlib import Path

import numpy as np
import pytest
from cupy_names import has, names_used

cupy = pytest.importorskip("cupy")
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(
        cupy.__version__.endswith("standin"), reason="the stand-in stands where CuPy should be"
    ),
]

OWN = {"transfers", "pointer"}  # what the stand-in has for the tests and itself
PYTHONS = {"__module__", "__doc__", "__dict__", "__weakref__", "__init__", "__hash__"}


@pytest.fixture(autouse=True)
def memory_that_nobody_touches():
    if cupy.cuda.runtime.driverGetVersion():  # there may be a GPU, and it would touch it
        yield
        return

    def allocate(size):
        memory = cupy.cuda.UnownedMemory(1 << 20, size, None, device_id=0)
        return cupy.cuda.MemoryPointer(memory, 0)

    with cupy.cuda.using_allocator(allocate):
        yield


def public(thing) -> dict:
    """What a module, class or namespace offers"""
    return {
        name: value
        for name, value in vars(thing).items()
        if not isinstance(value, types.ModuleType) and name not in OWN | PYTHONS
        if not name.startswith("_") or (name.startswith("__") and isinstance(thing, type))
    }


def keywords_offered(function, method: bool) -> list[str]:
    """The keywords that the stand-in takes"""
    if hasattr(function, "keywords"):
        return function.keywords
    parameters = list(inspect.signature(function).parameters.values())[method:]
    return [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]


def keywords_known(function) -> set[str]:
    """The keywords that CuPy takes, by its signature or by the first lines of its docstring, which
    Cython and ufuncs write: f(self, int axis=None, *, out=None) -> ndarray"""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        signatures = re.findall(r"^[\w.]+\((.*)\)(?: ->.*)?$", function.__doc__, re.MULTILINE)
        parts = ",".join(signatures).replace("\\", "").split(",")
        return {re.sub(r"=.*", "", part).split()[-1] for part in parts if part.strip()}
    return {("**" if p.kind is p.VAR_KEYWORD else "") + p.name for p in parameters}


def test_signatures_are_read():
    assert keywords_known(cupy.sum) == {"a", "axis", "dtype", "out", "keepdims"}
    assert keywords_known(cupy.ndarray.sum) == {"self", "axis", "dtype", "out", "keepdims"}
    assert {"out", "dtype", "casting"} <= keywords_known(cupy.add)
    assert {"code", "path", "options", "backend"} <= keywords_known(cupy.RawModule)
    assert "**kwargs" in keywords_known(cupy.pad)


def check_keywords(name, theirs, ours, method=False):
    known = keywords_known(theirs)
    if not any(k.startswith("**") for k in known):
        assert set(keywords_offered(ours, method)) <= known, f"{name}: CuPy takes {known}"


# What there is


def test_functions(standin):
    for name, ours in public(standin).items():
        assert hasattr(cupy, name), f"CuPy has no {name}"
        theirs = getattr(cupy, name)
        assert callable(ours) == callable(theirs)
        if isinstance(ours, type) and ours.__module__.startswith("standin_cupy"):
            assert isinstance(theirs, type)
        elif isinstance(ours, (type, float)):
            assert ours is theirs or ours == theirs or name == "nan", f"{name} is {theirs}"
        elif isinstance(ours, standin.ufunc):
            assert isinstance(theirs, (cupy.ufunc, type(cupy.matmul))), f"{name} is no ufunc"
            if theirs is not cupy.matmul:  # its **kwargs: dtype among them
                check_keywords(name, theirs, lambda out, dtype: None)
        elif callable(ours):
            check_keywords(name, theirs, ours)


def test_methods_and_attributes_of_arrays(standin):
    for name, ours in public(standin.ndarray).items():
        assert hasattr(cupy.ndarray, name), f"CuPy's arrays have no {name}"
        if callable(ours) and not name.startswith("__"):
            check_keywords(name, getattr(cupy.ndarray, name), ours, method=True)
    flags = cupy.empty(3).flags
    for name in vars(standin.zeros(3).flags):
        assert hasattr(flags, name), name


def test_what_arrays_are_not(standin):
    assert cupy.ndarray.__hash__ is None and standin.ndarray.__hash__ is None
    for name in ("__index__", "__complex__"):
        if not hasattr(cupy.ndarray, name):
            assert not hasattr(standin.ndarray, name)


def test_ufuncs_and_modules_of_kernels(standin):
    assert set(public(standin.ufunc)) <= set(dir(cupy.ufunc))
    kernel = inspect.getmodule(standin.RawModule).RawKernel
    for theirs, ours in (
        (cupy.ufunc.at, standin.ufunc.at),
        (cupy.RawModule, standin.RawModule.__init__),
        (cupy.RawModule.get_function, standin.RawModule.get_function),
        (cupy.RawKernel.__call__, kernel.__call__),
    ):
        check_keywords(ours.__qualname__, theirs, ours, method=True)
    for wrong in (lambda cp: cp.RawModule(code="", options=["-w"]), lambda cp: cp.RawModule("")):
        for cp in (cupy, standin):
            with pytest.raises(TypeError):
                wrong(cp)


def test_the_device(standin):
    def compare(ours, theirs):
        for name, value in vars(ours).items():
            if isinstance(value, types.ModuleType):  # cuBLAS: CuPy looks for it when asked
                continue
            assert hasattr(theirs, name), f"CuPy has no {theirs.__name__}.{name}"
            if isinstance(value, types.SimpleNamespace):
                compare(value, getattr(theirs, name))

    compare(standin.cuda, cupy.cuda)
    compare(standin.cuda.Device(), cupy.cuda.Device)
    compare(standin.cuda.get_current_stream(), cupy.cuda.Stream)
    compare(standin.get_default_memory_pool(), cupy.cuda.MemoryPool)
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)  # which the stand-in raises


@pytest.fixture(scope="module")
def cublas() -> str:
    """cupy.cuda.cublas as a file: without the library itself CuPy does not import it."""
    folder = Path(importlib.util.find_spec("cupy_backends").submodule_search_locations[0])
    (binary,) = (folder / "cuda" / "libs").glob("cublas.*.so")
    return binary.read_bytes().decode("latin-1")


def test_cublas(standin, cublas):
    for name, ours in public(standin.cuda.cublas).items():
        assert name in cublas, f"CuPy has no cublas.{name}"
        if inspect.isfunction(ours):
            theirs = re.search(rf"{name}\(([^()]*)\)", cublas)[1].split(",")
            assert [p.split()[-1] for p in theirs] == list(inspect.signature(ours).parameters)
            assert theirs[0] == "intptr_t handle"


def test_what_the_library_asks_for(cublas):
    def exists(chain):
        of_cublas = chain.partition("cuda.cublas")[2]
        return of_cublas[1:] in cublas if "cuda.cublas" in chain else has(cupy, chain)

    assert {chain: file for chain, file in names_used().items() if not exists(chain)} == {}


# What it does, as far as no kernel is needed for it


VIEWS = [
    lambda cp, x: x,
    lambda cp, x: x.T,
    lambda cp, x: x[1],
    lambda cp, x: x[:, 1:, None],
    lambda cp, x: x[..., -1],
    lambda cp, x: x[::-1, ::2],
    lambda cp, x: x[0, 0, 0],
    lambda cp, x: x[np.int64(1)],
    lambda cp, x: x[()],
    lambda cp, x: x.reshape(6, -1),
    lambda cp, x: x.reshape((4, 6), order="C"),
    lambda cp, x: x[:, :1].reshape(2, 4),
    lambda cp, x: x.ravel(),
    lambda cp, x: x.transpose(2, 0, 1),
    lambda cp, x: x.transpose((1, 0, 2)),
    lambda cp, x: x.swapaxes(0, -1),
    lambda cp, x: x[:1].squeeze(axis=0),
    lambda cp, x: x[:, :, :1].squeeze(),
    lambda cp, x: cp.reshape(x, (8, 3)),
    lambda cp, x: cp.moveaxis(x, 0, -1),
    lambda cp, x: cp.expand_dims(x, 1),
    lambda cp, x: cp.broadcast_to(x, (5, 2, 3, 4)),
    lambda cp, x: cp.flip(x, 1),
    lambda cp, x: cp.split(x, 2)[1],
    lambda cp, x: cp.split(x, [1], axis=1)[0],
    lambda cp, x: cp.ascontiguousarray(x),
    lambda cp, x: cp.ascontiguousarray(x[0, 0, 0]),
    lambda cp, x: cp.empty((2, 3), np.int32),
    lambda cp, x: cp.empty(np.int64(5)),
    lambda cp, x: cp.empty_like(x.T),
    lambda cp, x: cp.empty_like(x.transpose(1, 0, 2)),
    lambda cp, x: cp.empty_like(x[:, ::2]),
    lambda cp, x: cp.empty_like(x.T, order="C"),
    lambda cp, x: cp.empty_like(x, shape=(7, 2)),
    lambda cp, x: cp.empty_like(x, dtype=np.float16),
]


@pytest.mark.parametrize("view", VIEWS)
def test_views_and_new_memory(standin, view):
    found = [view(cp, cp.empty((2, 3, 4), np.float32)) for cp in (cupy, standin)]
    assert all(isinstance(y, cp.ndarray) for y, cp in zip(found, (cupy, standin), strict=True))
    theirs, ours = ([y.shape, y.dtype, y.size, y.flags.c_contiguous] for y in found)
    assert theirs == ours
    if all(n > 1 for n in found[0].shape):  # else a stride means nothing
        assert found[0].strides == found[1].strides


REFUSED = [
    lambda cp, x: np.asarray(x),
    lambda cp, x: np.array([x, x]),
    lambda cp, x: cp.where(True, x, x),
    lambda cp, x: cp.broadcast_to(np.zeros(3), (2, 3)),
    lambda cp, x: x.__setitem__(0, np.zeros((3, 4))),
    lambda cp, x: x.max(initial=0),
    lambda cp, x: cp.max(x, initial=0),
    lambda cp, x: cp.sum(x, where=True),
    lambda cp, x: cp.zeros(3, like=x),
    lambda cp, x: cp.clip(x, min=0, max=1),
    lambda cp, x: cp.array(data=[1.0]),
    lambda cp, x: cp.array(["a"]),
    lambda cp, x: cp.zeros(3, object),
    lambda cp, x: x.flags.writeable,
    lambda cp, x: {x},
    lambda cp, x: x.reshape(cp.empty(2, int)),
    lambda cp, x: x.sum(axis=cp.empty((), int)),
    lambda cp, x: x.transpose(cp.empty(3, int)),
    lambda cp, x: cp.zeros(cp.empty(2, int)),
    lambda cp, x: cp.split(x, cp.empty(2, int)),
    lambda cp, x: cp.empty(2.0),
    lambda cp, x: x[5],
    lambda cp, x: x.reshape(5, 5),
    lambda cp, x: bool(x),
    lambda cp, x: cp.add(x, x, where=True),
    lambda cp, x: x.squeeze(0),
    lambda cp, x: cp.concatenate([x, x], where=0),
]


@pytest.mark.parametrize("wrong", REFUSED)
def test_refusals(standin, wrong):
    for cp in (cupy, standin):
        with pytest.raises((TypeError, ValueError, AttributeError, IndexError)):
            wrong(cp, cp.empty((2, 3, 4), np.float32))
