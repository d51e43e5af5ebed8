"""A strict stand-in for CuPy: NumPy underneath, but as unwilling as CuPy, for machines without GPU.

    TINYDIFF_BACKEND=cupy PYTHONPATH=tests/standin python -m pytest tests/ops

Its arrays refuse what CuPy's refuse, or do silently wrong:
- becoming NumPy arrays unasked, and NumPy arrays as operands or values (as indices they pass, at
  the price of a transfer);
- NumPy's functions (CuPy answers some of them; the library is to ask the backend);
- dtypes other than booleans and numbers; integers beyond 32 bits in add.at;
- scalars: reductions and single elements stay 0-d arrays, which no range() takes;
- indices out of bounds in an index array wrap around without a word.
Memory is the device's own: copies are made on the way in and out.  A function that is not listed
here is either missing in CuPy or not used yet: look it up in CuPy's reference before adding it.

CUPY_STANDIN_STATE lets it fail as CuPy does where something is missing, see _STATES at the end.
Checked against CuPy 14: docs.cupy.dev, user guide "Differences between CuPy and NumPy", the sources
of cupy._core, and, as far as goes without a GPU, the real one in tests/oracle/test_cupy_api.py.
"""

import builtins
import contextlib
import os
import re
import types

import numpy as np

from . import blas
from .raw import RawModule

__version__ = "13.0.0+standin"

inf, nan, pi, e, newaxis = np.inf, np.nan, np.pi, np.e, None
bool_, float16, float32, float64 = np.bool_, np.float16, np.float32, np.float64
int8, int16, int32, int64, intp = np.int8, np.int16, np.int32, np.int64, np.intp
uint8, uint16, uint32, uint64 = np.uint8, np.uint16, np.uint32, np.uint64
integer, floating, generic = np.integer, np.floating, np.generic
dtype, finfo, iinfo, issubdtype = np.dtype, np.finfo, np.iinfo, np.issubdtype
promote_types = np.promote_types


transfers = {"to host": 0, "to device": 0}  # each of the first kind waits for the device


def _read(x):
    transfers["to host"] += 1
    return x._host


def _to_host(x):
    """An operand as NumPy takes it, if CuPy would take it at all."""
    if isinstance(x, ndarray):
        return x._host
    if x is None or isinstance(x, (bool, int, float, str, type, np.generic, np.dtype)):
        return x
    raise TypeError(f"Unsupported type {type(x)}")


def _all_to_host(x):
    """Arguments of a function, among them lists of arrays, shapes and axes."""
    return type(x)(map(_all_to_host, x)) if isinstance(x, (tuple, list)) else _to_host(x)


def _to_device(result):
    """What NumPy answers, as CuPy would: arrays, also where NumPy gives scalars."""
    if isinstance(result, (tuple, list)):
        return type(result)(map(_to_device, result))
    if isinstance(result, (np.ndarray, np.generic)):
        return ndarray._of(np.asarray(result))
    return result


class ndarray:
    __array_ufunc__ = None  # np.add(x, …) and np.float64(2).__mul__(x) are not answered
    __hash__ = None

    def __init__(self, shape, dtype=float):
        self._host = _uninitialised(np.empty(shape, _checked(dtype)))

    @classmethod
    def _of(cls, host):
        _checked(host.dtype)
        if host.base is None:  # not a view
            _allocate(host.nbytes)
        array = cls.__new__(cls)
        array._host = host
        return array

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_function__(self, function, kinds, args, settings):
        raise TypeError(f"numpy.{function.__name__} was given a device array; use the backend's")

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    strides = property(lambda self: self._host.strides)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    T = property(lambda self: _to_device(self._host.T))
    data = property(lambda self: types.SimpleNamespace(ptr=blas.pointer(self._host)))

    @property
    def flags(self):
        flags = self._host.flags  # CuPy's have no writeable
        return types.SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata
        )

    def get(self):
        return _read(self).copy()

    def item(self):
        return _read(self).item()

    def tolist(self):
        return _read(self).tolist()

    def fill(self, value):
        self._host.fill(_to_host(value))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(_read(self))

    def __int__(self):
        return int(_read(self))

    def __float__(self):
        return float(_read(self))

    def __repr__(self):
        return repr(self._host)

    def __str__(self):
        return str(self._host)

    def __format__(self, spec):
        return format(self._host, spec)

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return array, (self.get(),)

    def __getitem__(self, index):
        return _to_device(self._host[_wrapped(index, self.shape)])

    def __setitem__(self, index, value):
        self._host[_wrapped(index, self.shape)] = _to_host(value)


def _checked(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype


def _uninitialised(host):
    """Memory that nobody has written to: NaN, −1, the largest unsigned number or True"""
    host[...] = np.full(host.itemsize, 1 if host.dtype == bool else 0xFF, np.uint8).view(host.dtype)
    return host


def _wrapped(index, shape):
    """The index for NumPy, with positions in index arrays taken modulo the length of their axis."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = [p._host if isinstance(p, ndarray) else p for p in parts]
    parts = [np.asarray(p, dtype=None if p else int) if isinstance(p, list) else p for p in parts]
    taken = [0 if p is None or p is Ellipsis else _axes_taken(p) for p in parts]
    found, axis = [], 0
    for part, count in zip(parts, taken, strict=True):
        if isinstance(part, np.ndarray) and part.dtype.kind in "iu" and axis < len(shape):
            part = part % (shape[axis] or 1)
        found.append(part)
        axis += len(shape) - builtins.sum(taken) if part is Ellipsis else count
    return tuple(found)


def _axes_taken(part):
    boolean = isinstance(part, (bool, np.bool_, np.ndarray)) and np.asarray(part).dtype == bool
    return np.ndim(part) if boolean else 1


class ufunc:
    """Takes device arrays and numbers, gives device arrays; has no `at` but those of CuPy."""

    def __init__(self, name):
        self.__name__ = name
        self._on_host = getattr(np, name)

    def __call__(self, *args, out=None, dtype=None):
        if self.__name__ == "matmul":
            _prepare_product(*args)
        with np.errstate(all="ignore"):  # a GPU does not warn
            result = self._on_host(*map(_to_host, args), out=_to_host(out), dtype=dtype)
        return _to_device(result) if out is None else out

    def at(self, a, indices, b):
        if self.__name__ not in ("add", "subtract", "maximum", "minimum"):
            raise NotImplementedError(f"`{self.__name__}.at` is not supported yet")
        if a.dtype.name not in ("int32", "float16", "float32", "float64", "uint32", "uint64"):
            raise TypeError(f"scatter_add does not support {a.dtype}")
        self._on_host.at(a._host, _wrapped(indices, a.shape), _to_host(b))


_UFUNCS = """
    add subtract multiply divide true_divide floor_divide negative power remainder matmul
    exp expm1 log log1p log2 sqrt square reciprocal sin cos tan tanh sinh cosh arctan arctanh arccos
    abs absolute sign floor ceil rint maximum minimum logaddexp nextafter isnan isfinite isinf
    equal not_equal less less_equal greater greater_equal
    logical_and logical_or logical_not bitwise_and bitwise_or bitwise_xor invert
"""
for _name in _UFUNCS.split():
    globals()[_name] = ufunc(_name)


def _operator(function, swap=False, in_place=False):
    def apply(self, *other):
        for o in other:
            if not isinstance(o, ndarray) and getattr(o, "__array_ufunc__", o) is None:
                return NotImplemented  # its own operator shall answer (NEP 13)
        args = (*other, self) if swap else (self, *other)
        return function(*args, out=self) if in_place else function(*args)

    return apply


for _name, _function in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}.items():
    _function = globals()[_function]
    setattr(ndarray, f"__{_name}__", _operator(_function))
    setattr(ndarray, f"__r{_name}__", _operator(_function, swap=True))
    if _name != "matmul":  # CuPy lacks it: x @= y makes a new array
        setattr(ndarray, f"__i{_name}__", _operator(_function, in_place=True))
for _name, _function in {
    "neg": "negative",
    "abs": "absolute",
    "invert": "invert",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}.items():
    setattr(ndarray, f"__{_name}__", _operator(globals()[_function]))


def _listed(table):
    """(name, keywords) of each entry "name: keyword keyword" of a table"""
    for name, keywords in re.findall(r"(\w+):((?: \w+\b(?!:))*)", table):
        yield name, keywords.split()


_TAKE_ARRAYS = ("clip", "dot", "tensordot", "einsum", "array_equal", "allclose")


def _check(name, keywords, settings, rest):
    """Keywords are those listed; shapes, axes and counts are no device arrays."""
    if not settings.keys() <= set(keywords):
        raise TypeError(f"{name}() got an unexpected keyword in {sorted(settings)}")
    rest = [*rest, *(v for k, v in settings.items() if k not in ("out", "min", "max"))]
    if name not in _TAKE_ARRAYS and builtins.any(isinstance(x, ndarray) for x in _flat(rest)):
        raise TypeError(f"{name}: 'ndarray' object cannot be interpreted as an integer")


def _method(name, keywords):
    """An array method with the keywords CuPy knows (its reductions know no where= or initial=)."""

    def method(self, *args, **settings):
        _check(name, keywords, settings, args)
        args, settings = _all_to_host(args), {k: _all_to_host(v) for k, v in settings.items()}
        with np.errstate(all="ignore"):
            result = getattr(self._host, name)(*args, **settings)
        return _to_device(result)

    method.keywords = keywords
    return method


_METHODS = """
    sum: axis dtype out keepdims     prod: axis dtype out keepdims   mean: axis dtype out keepdims
    var: axis dtype out ddof keepdims        std: axis dtype out ddof keepdims
    max: axis out keepdims           min: axis out keepdims
    any: axis out keepdims           all: axis out keepdims
    argmax: axis dtype out keepdims  argmin: axis dtype out keepdims
    cumsum: axis dtype out           clip: min max out               astype: order copy
    reshape: order                   ravel: order                    flatten: order
    copy: order                      squeeze: axis                   repeat: axis
    argsort: axis                    transpose:                      swapaxes:
    nonzero:
"""
for _name, _keywords in _listed(_METHODS):
    setattr(ndarray, _name, _method(_name, _keywords))


def _take(a, indices, axis=None):
    return _to_device(np.take(a._host, _to_host(indices), axis=axis, mode="wrap"))


ndarray.take = take = _take


# Making arrays


def array(obj, dtype=None):
    transfers["to device"] += not isinstance(obj, ndarray)
    host = obj._host if isinstance(obj, ndarray) else np.asarray(obj)
    return ndarray._of(np.array(host, dtype=_checked(host.dtype if dtype is None else dtype)))


def asarray(a, dtype=None):
    if isinstance(a, ndarray) and (dtype is None or a.dtype == dtype):
        return a
    return array(a, dtype)


def ascontiguousarray(a, dtype=None):
    a = asarray(a, dtype)
    if a.ndim == 0:  # as NumPy's, it has at least one axis
        return a.reshape(1)
    return a if a.flags.c_contiguous else _to_device(np.array(a._host, order="C"))


def _maker(name, keywords):
    def make(*args, **settings):
        _check(name, keywords, settings, args[name.endswith("_like") :])
        if not name.endswith("_like"):
            args = [_all_to_host(a) for a in args]
        elif isinstance(args[0], ndarray):
            args = [args[0]._host, *args[1:]]
        else:
            raise TypeError(f"{name}: expected a device array, got {type(args[0])}")
        host = getattr(np, name)(*args, **settings)
        return ndarray._of(_uninitialised(host) if name.startswith("empty") else host)

    make.keywords = keywords
    return make


_MAKERS = """
    zeros: dtype order               zeros_like: dtype order shape
    ones: dtype order                ones_like: dtype order shape
    empty: dtype order               empty_like: dtype order shape
    full: dtype order                full_like: dtype order shape
    eye: dtype                       arange: dtype                    linspace: num endpoint dtype
"""
for _name, _keywords in _listed(_MAKERS):
    globals()[_name] = _maker(_name, _keywords)


class _OpenGrid:
    def __getitem__(self, index):
        return _to_device(tuple(np.ogrid[index]))


ogrid = _OpenGrid()


# Functions of arrays


def _function(name, keywords):
    def function(*args, **settings):
        _check(name, keywords, settings, args[1:])
        if not builtins.any(isinstance(a, ndarray) for a in _flat(args)):
            raise TypeError(f"{name}: expected device arrays, got {[type(a) for a in args]}")
        args, settings = _all_to_host(args), {k: _all_to_host(v) for k, v in settings.items()}
        with np.errstate(all="ignore"):
            return _to_device(getattr(np, name)(*args, **settings))

    function.keywords = keywords
    return function


def _flat(args):
    for a in args:
        yield from _flat(a) if isinstance(a, (tuple, list)) else (a,)


_FUNCTIONS = """
    concatenate: axis                stack: axis                     split: axis
    tile:                            repeat: axis                    pad: mode constant_values
    flip: axis                       roll: axis                      moveaxis:
    swapaxes:                        transpose: axes                 expand_dims: axis
    squeeze: axis                    reshape: order                  ravel: order
    broadcast_to:                    einsum: optimize                tensordot: axes
    dot: out                         clip: out
    sum: axis dtype out keepdims     prod: axis dtype out keepdims   mean: axis dtype out keepdims
    var: axis dtype out ddof keepdims        std: axis dtype out ddof keepdims
    max: axis out keepdims           min: axis out keepdims
    any: axis out keepdims           all: axis out keepdims
    argmax: axis dtype out keepdims  argmin: axis dtype out keepdims
    argsort: axis                    sort: axis                      cumsum: axis dtype out
    unique: return_index return_inverse return_counts axis           count_nonzero: axis
    array_equal:                     allclose: rtol atol             diff: n axis
    triu: k                          tril: k                         sinc:
"""
for _name, _keywords in _listed(_FUNCTIONS):
    globals()[_name] = _function(_name, _keywords)


def where(condition, x, y):
    return _to_device(np.where(*map(_to_host, (condition.astype("?"), x, y))))


def shape(a):
    return a.shape if isinstance(a, ndarray) else np.shape(a)


def ndim(a):
    return a.ndim if isinstance(a, ndarray) else np.ndim(a)


def asnumpy(a):
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


# The device


_STATES = {  # CUPY_STANDIN_STATE: what the real CuPy raises, where it first notices
    "no GPU": ("count", "RuntimeError", "cudaErrorNoDevice: no CUDA-capable device is detected"),
    "old driver": (
        "count",
        "RuntimeError",
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
    ),
    "full": (
        "array",
        "OutOfMemoryError",
        "Out of memory allocating 512 bytes",
    ),
    "no room for cuBLAS": ("product", "RuntimeError", "CUBLAS_STATUS_NOT_INITIALIZED"),
    "no cuBLAS": ("product", "ImportError", 'Failure finding "libcublasLt.so.12": No such file'),
    "no headers": ("product", "RuntimeError", "\n====\nCuPy failed to find CUDA headers\n===="),
    "old GPU": ("product", "RuntimeError", "nvrtc: error: invalid value for --gpu-architecture"),
    "other CUDA": ("product", "RuntimeError", "cudaErrorNoKernelImageForDevice: no kernel image"),
}


def _notice(where):
    noticed, kind, words = _STATES.get(os.environ.get("CUPY_STANDIN_STATE"), ("", "", ""))
    if noticed == where:
        raise {**vars(builtins), "OutOfMemoryError": _OutOfMemoryError}[kind](words)


class _OutOfMemoryError(MemoryError):
    pass


_tf32 = []  # what CUPY_TF32 was at the first product in float32, which decides for all


def _prepare_product(a, b):
    if a.ndim == b.ndim == 2 and a.shape[0] == b.shape[1] == 1:
        return  # a sum of elementwise products, for which nobody asks cuBLAS
    _notice("product")
    if a.dtype == np.float32 and not _tf32:
        _tf32.append(os.environ.get("CUPY_TF32", "0") == "1")


def _allocate(nbytes):
    """As much as CUPY_GPU_MEMORY_LIMIT allows one array; the stand-in does not count them all."""
    _notice("array")
    if nbytes > (_pool.get_limit() or nbytes):
        raise _OutOfMemoryError(f"Out of memory allocating {nbytes:,} bytes")


def _device_count():
    _notice("count")
    return 1


_pool = types.SimpleNamespace(
    used_bytes=lambda: 1 << 20,
    total_bytes=lambda: 1 << 20,
    free_all_blocks=lambda: None,
    get_limit=lambda: int(os.environ.get("CUPY_GPU_MEMORY_LIMIT", "0")),
)


def get_default_memory_pool():
    return _pool


def get_default_pinned_memory_pool():
    return types.SimpleNamespace(malloc=None)


class _Stream:
    """Kernels are computed here when they are asked for: none can be written down for later."""

    def __init__(self, null=False, non_blocking=False):
        raise NotImplementedError("the stand-in captures nothing")


cuda = types.SimpleNamespace(
    runtime=types.SimpleNamespace(
        runtimeGetVersion=lambda: 13000,
        driverGetVersion=lambda: 13000 * (os.environ.get("CUPY_STANDIN_STATE") != "no driver"),
        getDeviceCount=_device_count,
        memGetInfo=lambda: (6 << 30, 8 << 30),
        CUDA_R_32F=0,
        CUDA_R_64F=1,
        getDeviceProperties=lambda device: {"name": b"stand-in"},
    ),
    Device=lambda: types.SimpleNamespace(compute_capability="80", pci_bus_id="0000:00:1E.0"),
    cublas=blas,
    get_cublas_handle=lambda: "handle",
    get_current_stream=lambda: types.SimpleNamespace(synchronize=lambda: None),
    memory=types.SimpleNamespace(OutOfMemoryError=_OutOfMemoryError),
    MemoryPool=lambda: _pool,
    Stream=_Stream,
    using_allocator=lambda allocator: contextlib.nullcontext(),
    set_pinned_memory_allocator=lambda allocator: None,
)
