"""CuPy's RawModule without a GPU: the CUDA source is compiled by g++ and runs on the CPU.

Stricter than a GPU: the number, kinds and sizes of arguments must be those of the kernel, arrays
contiguous, and one that is written not given twice if __restrict__ forbids it; a kernel that reads
or writes beyond its arrays, or writes to one it calls const, is found out.  Arrays are copied
between red zones for that; what is read there are NaNs.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

HEADER = Path(__file__).parent.parent / "cuda_on_cpu.h"
RED = 4096  # bytes of red zone before and after each array
PATTERN = 0xFF  # a NaN in any floating dtype, −1 in any integer one
_BARRIERS = re.compile(r"__sync|__shfl|\b(?:block|warp)_\w+\(")
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\([^)]*\)\s+)?void\s+(\w+)\s*\('
)
_WIDTHS = {  # what CUDA's names mean to NumPy
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned": np.uint32,
    "unsigned int": np.uint32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
    "bool": np.bool_,
    "unsigned char": np.uint8,
    "size": np.int64,  # common.cuh
}


def compiler() -> str | None:
    return shutil.which("g++")


class RawModule:
    """cupy.RawModule"""

    def __init__(self, *, code, options=(), backend="nvrtc"):
        if not isinstance(options, tuple):
            raise TypeError(f"options must be a tuple, got {options!r}")
        self._code, self._options, self._library = code, options, None
        self._kernels = {name: (params, body) for name, params, body in kernels_in(code)}

    def get_function(self, name):
        if self._library is None:
            self._library = _compiled(self._code, self._options, self._kernels)
        return RawKernel(self._library, name, *self._kernels[name], self._options)


class RawKernel:
    def __init__(self, library, name, parameters, body, options):
        self.name = name
        self._launch = getattr(library, f"launch_{name}")
        self._backwards = library.set_backwards
        self._barriers = bool(_BARRIERS.search(body))
        defined = dict(o[2:].split("=") for o in options if o.startswith("-D") and "=" in o)
        self._parameters = [_parameter(p, defined.get("REAL", "float")) for p in parameters]

    def __call__(self, grid, block, args, *, shared_mem=0):
        grid, block = (tuple(d) + (1,) * (3 - len(d)) for d in (grid, block))
        limits = (2**31 - 1, 65535, 65535), (1024, 1024, 64)
        for sizes, most in zip((grid, block), limits, strict=True):
            if any(not 1 <= n <= m for n, m in zip(sizes, most, strict=True)):
                raise ValueError(f"{self.name}: cudaErrorInvalidConfiguration: {grid}, {block}")
        if block[0] * block[1] * block[2] > 1024:
            raise ValueError(f"{self.name}: cudaErrorInvalidConfiguration: {block} threads")
        if not isinstance(args, tuple):
            raise TypeError(f"{self.name}: args must be a tuple, got {type(args)}")
        if len(args) != len(self._parameters):
            raise TypeError(f"{self.name} takes {len(self._parameters)} arguments, got {len(args)}")
        copies, pointers, keep = {}, (ctypes.c_void_p * len(args))(), []
        for i, (value, parameter) in enumerate(zip(args, self._parameters, strict=True)):
            held = parameter.held(self.name, value, copies)
            keep.append(held)
            pointers[i] = ctypes.cast(ctypes.byref(held), ctypes.c_void_p)
        three = ctypes.c_int * 3
        self._backwards(int(os.environ.get("CUDA_ON_CPU_BACKWARDS", "0")))
        self._launch(pointers, three(*grid), three(*block), int(self._barriers))
        for copy in copies.values():
            copy.back(self.name)


class _Copy:
    """An array's memory between red zones, as long as a kernel runs"""

    def __init__(self, host):
        self.host, self.writable, self.given_as = host, False, []
        self.memory = np.full(host.nbytes + 2 * RED, PATTERN, np.uint8)
        self.memory[RED : RED + host.nbytes] = host.reshape(-1).view(np.uint8)
        self.before = self.memory.copy()

    def back(self, name):
        inside = slice(RED, RED + self.host.nbytes)
        if not self.writable and (self.memory != self.before).any():
            raise RuntimeError(f"{name} wrote to an array that it calls const")
        for zone in (slice(0, RED), slice(RED + self.host.nbytes, None)):
            if (self.memory[zone] != PATTERN).any():
                raise RuntimeError(f"{name} wrote beyond an array of {self.host.nbytes} bytes")
        if self.writable:
            self.host.reshape(-1).view(np.uint8)[:] = self.memory[inside]


class _parameter:
    def __init__(self, text, real):
        alone = "__restrict__" in text  # it promises that no other pointer leads there
        text = text.replace("__restrict__", "").strip()
        self.text, self.const = text, text.startswith("const ")
        self.alone = alone
        kind = re.sub(r"\s*\b\w+$", "", text.removeprefix("const ")).strip()
        self.pointer = "*" in text
        kind = kind.replace("*", "").strip()
        self.dtype = np.dtype(_WIDTHS[real if kind == "real" else kind])

    def held(self, name, value, copies):
        from . import ndarray

        what = f"{name}: argument {self.text!r}"
        if not self.pointer:
            if isinstance(value, (ndarray, np.ndarray)):
                raise TypeError(f"{what} is a number, got an array")
            # As CuPy passes them: Python's int as long long, its float as double.
            given = {int: np.int64, float: np.float64, bool: np.bool_}.get(type(value))
            given = np.dtype(given) if given else np.asarray(value).dtype
            if given != self.dtype:
                raise TypeError(f"{what} is {self.dtype}, got {value!r} as {given}")
            return ctypes.create_string_buffer(np.asarray(value, self.dtype).tobytes())
        if not isinstance(value, ndarray):
            if np.asarray(value).dtype.itemsize == 8 and int(value) == 0:
                return ctypes.c_void_p(0)
            raise TypeError(f"{what} is an array, got {value!r}")
        host = value._host
        if host.dtype != self.dtype:
            raise TypeError(f"{what}: got an array of {host.dtype}")
        if not host.flags.c_contiguous:
            raise ValueError(f"{what}: got an array of strides {host.strides}, not contiguous")
        start = host.__array_interface__["data"][0]
        stop = start + host.nbytes
        for low, high in copies:
            if (low, high) != (start, stop) and low < stop and start < high:
                raise ValueError(f"{what} overlaps another array in part")
        if (start, stop) not in copies:
            copies[start, stop] = _Copy(host)
        copy = copies[start, stop]
        copy.writable |= not self.const
        copy.given_as.append(self)
        if len(copy.given_as) > 1 and copy.writable and any(p.alone for p in copy.given_as):
            raise ValueError(f"{what}: the same array as {copy.given_as[0].text!r}, __restrict__")
        return ctypes.c_void_p(copy.memory.ctypes.data + RED)


def kernels_in(code):
    """(name, parameters, body) of each kernel in a CUDA source"""
    code = re.sub(r"//[^\n]*", "", code)
    for match in _KERNEL.finditer(code):
        close = _closing(code, match.end() - 1, "()")
        opening = code.index("{", close)
        parameters = [p.strip() for p in code[match.end() : close].split(",")]
        yield match[1], parameters, code[opening : _closing(code, opening, "{}")]


def _closing(code, opening, brackets):
    depth = 0
    for i in range(opening, len(code)):
        depth += (code[i] == brackets[0]) - (code[i] == brackets[1])
        if depth == 0:
            return i
    raise ValueError("unbalanced brackets in a CUDA source")


def _compiled(code, options, kernels):
    """The library of a source, compiled unless it was before"""
    launchers = "\n".join(_launcher(name, params) for name, (params, _) in kernels.items())
    # Without a name, the namespace keeps shared memory to this library.
    text = f'#include "{HEADER.name}"\nnamespace {{\n{code}\n}}\n{launchers}\n' + (
        'extern "C" void set_backwards(int yes) { cuda_on_cpu::backwards = yes; }\n'
    )
    flags = [o for o in options if o.startswith("-D")]
    key = hashlib.sha256((HEADER.read_text() + text + repr(flags)).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"cuda-on-cpu-{os.getuid()}"
    library = folder / f"{key}.so"
    if not library.exists():
        if compiler() is None:
            raise RuntimeError("there is no g++ to compile CUDA sources for the CPU with")
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            source, made = Path(scratch) / "kernels.cpp", Path(scratch) / "kernels.so"
            source.write_text(text)
            command = [
                compiler(),
                "-std=c++17",
                "-O1",
                "-fPIC",
                "-shared",
                "-I",
                str(HEADER.parent),
            ]
            command += ["-U_FORTIFY_SOURCE", "-w", *flags, "-o", str(made), str(source)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise RuntimeError(f"a CUDA source does not compile:\n{run.stderr[:4000]}")
            os.replace(made, library)
    return ctypes.CDLL(str(library))


def _launcher(name, parameters):
    """A C function that calls the kernel with arguments taken from an array of pointers"""
    kinds = [re.sub(r"\s*\b\w+$", "", p.replace("__restrict__", "").strip()) for p in parameters]
    values = ", ".join(f"*({kind}*)a[{i}]" for i, kind in enumerate(kinds))
    return f"""
static void call_{name}(void** a) {{ {name}({values}); }}
extern "C" void launch_{name}(void** a, const int* grid, const int* block, int barriers) {{
    cuda_on_cpu_launch(call_{name}, a, grid, block, barriers);
}}"""
