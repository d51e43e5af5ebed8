"""Short CUDA C kernels: the sources lie beside this file, compiled when first they are called.

    kernels = Source("activation")                       # activation.cu
    kernels.silu(blocks, threads, x, y, x.size)

A source computes with ``real``, which is float or double as its arrays are; there is one compiled
version for each.  Python's ints become C's int, or size where the kernel says so, floats become
real, None a null pointer.  Arrays must be contiguous, and of the dtype that the kernel reads.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import cupy
import numpy as np

HERE = Path(__file__).parent
REAL = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_NUMBERS = {"int": "i4", "unsigned": "u4", "size": "i8", "double": "f8"}  # C's to NumPy
THREADS = 256  # in a block, where nothing else is said
_SHORT = 1024  # elements of a row for which a warp is enough
_MOST_BLOCKS = 1 << 16  # a thread that has more elements to do goes round again


def blocks_for(n: int) -> int:
    """How many blocks of THREADS threads take n elements"""
    return max(1, min(-(-n // THREADS), _MOST_BLOCKS))


def rows_for(rows: int, length: int) -> tuple[int, tuple[int, int]]:
    """Blocks and threads of a kernel that sees to one row with each threadIdx.y (common.cuh)"""
    if length > _SHORT:
        return rows, (THREADS, 1)
    return -(-rows // 8), (32, 8)


def contiguous(a):
    """a, copied if its numbers do not lie side by side; CuPy's gives a single number an axis"""
    return a if a.flags.c_contiguous else cupy.ascontiguousarray(a)


def text_of(name: str) -> str:
    """The CUDA C of a source, with what all share before it"""
    return "\n".join((HERE / file).read_text("utf-8") for file in ("common.cuh", f"{name}.cu"))


class Source:
    """``source.kernel(blocks, threads, *arguments)``; blocks and threads are ints or tuples."""

    def __init__(self, name: str):
        self._name = name
        self._text = text_of(name)

    def __getattr__(self, kernel: str) -> Callable:
        if kernel.startswith("__"):
            raise AttributeError(kernel)
        converters = [_converter(p) for p in _parameters(self._text, kernel)]

        def launch(blocks, threads, *arguments) -> None:
            dtypes = (a.dtype for a in arguments if isinstance(a, cupy.ndarray))
            dtype = next((d for d in dtypes if d in REAL), np.dtype(np.float32))
            passed = tuple(c(a, dtype) for c, a in zip(converters, arguments, strict=True))
            grid = blocks if isinstance(blocks, tuple) else (blocks,)
            block = threads if isinstance(threads, tuple) else (threads,)
            self._compiled(kernel, dtype)(grid, block, passed)

        setattr(self, kernel, launch)  # found without __getattr__ from now on
        return launch

    def elementwise(self, kernel: str, *arrays):
        """A kernel (*arrays, y, n) on each element: y, like the first array, which is contiguous"""
        arrays = [contiguous(a) for a in arrays]
        y = cupy.empty_like(arrays[0])
        if y.size:
            getattr(self, kernel)(blocks_for(y.size), THREADS, *arrays, y, y.size)
        return y

    @functools.cache  # noqa: B019  sources live as long as the process
    def _compiled(self, kernel: str, dtype) -> Callable:
        return _module(self._text, REAL[dtype]).get_function(kernel)


@functools.cache
def _module(text: str, real: str):
    # CuPy writes it to a file in the locale's encoding, which need not have the comments' letters.
    # (A question mark would do in its place, were "??/" not a trigraph.)
    text = "".join(letter if letter.isascii() else "_" for letter in text)
    return cupy.RawModule(code=text, options=("-std=c++17", f"-DREAL={real}"))


def _parameters(text: str, kernel: str) -> list[str]:
    found = re.search(rf"__global__ void {kernel}\(([^)]*)\)", text)
    if found is None:
        raise AttributeError(f"there is no kernel {kernel!r} in this source")
    return [p.strip() for p in found[1].split(",")]


def _converter(parameter: str) -> Callable:
    """(argument, dtype of real) → what CuPy is to pass for a kernel's parameter"""
    kind = re.sub(r"^const |\*.*| \w+$", "", parameter)
    own = None if kind == "real" else np.dtype(_NUMBERS[kind])
    if "*" not in parameter:
        return lambda a, real: (real if own is None else own).type(a)

    def array(a, real):
        wanted = real if own is None else own
        if a is not None and a.dtype != wanted:  # its bytes would be taken for other numbers
            raise TypeError(f"{parameter}: expected an array of {wanted}, got {a.dtype}")
        return np.uintp(0) if a is None else a

    return array
