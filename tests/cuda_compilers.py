"""Compilers of CUDA C for the tests, none of which needs a GPU: NVRTC, as CuPy uses it, or nvcc."""

import ctypes
import ctypes.util
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

# What CuPy adds to the options of a RawModule.
CUPYS = ("-ftz=true",)
VERBOSE = ("-Xptxas", "-v")  # reports of registers, and of spills to memory
# Of C's headers, which nvcc includes unasked; NVRTC has none.
MACROS = ["INFINITY", "NAN", "HUGE_VAL", "M_PI", "M_SQRT2", "M_SQRT1_2", "M_2_SQRTPI", "INT_MAX"]


class CompileError(Exception):
    """What the compiler said"""


class Nvrtc:
    """The library that compiles CUDA C at run time"""

    def __init__(self, path: str):
        self._library = ctypes.CDLL(path)

    def __repr__(self) -> str:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("Version", ctypes.byref(major), ctypes.byref(minor))
        return f"NVRTC {major.value}.{minor.value}"

    def _call(self, name: str, *args) -> None:
        if status := getattr(self._library, f"nvrtc{name}")(*args):
            raise CompileError(f"nvrtc{name}: error {status}")

    def architectures(self) -> list[int]:
        count = ctypes.c_int()
        self._call("GetNumSupportedArchs", ctypes.byref(count))
        known = (ctypes.c_int * count.value)()
        self._call("GetSupportedArchs", known)
        return list(known)

    def compile(self, text: str, options: tuple[str, ...], architectures) -> str:
        """What it had to say; CompileError if it fails"""
        return "".join(self._compile(text, options, a) for a in architectures)

    def _compile(self, text, options, architecture):
        options = (*options, *CUPYS, *VERBOSE, f"-arch=sm_{architecture}")
        options += ("--device-as-default-execution-space",)  # CuPy's too; nvcc has no such thing
        program = ctypes.c_void_p()
        self._call(
            "CreateProgram", ctypes.byref(program), text.encode(), b"source.cu", 0, None, None
        )
        try:
            given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
            status = self._library.nvrtcCompileProgram(program, len(options), given)
            size = ctypes.c_size_t()
            self._call("GetProgramLogSize", program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            self._call("GetProgramLog", program, log)
        finally:
            self._call("DestroyProgram", ctypes.byref(program))
        if status:
            raise CompileError(f"error {status}:\n{log.value.decode()}")
        return log.value.decode()


class Nvcc:
    """The compiler of the CUDA toolkit, all architectures at once"""

    def __init__(self, path: str):
        self._path = path

    def __repr__(self) -> str:
        return "nvcc"

    def architectures(self) -> list[int]:
        command = [self._path, "--list-gpu-code"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [int(n) for n in re.findall(r"^sm_(\d+)$", listed, re.MULTILINE)]

    def compile(self, text: str, options: tuple[str, ...], architectures) -> str:
        """What it had to say; CompileError if it fails"""
        text = "".join(f"#undef {name}\n" for name in MACROS) + text
        command = [self._path, "-x", "cu", "-fatbin", *options, *CUPYS, *VERBOSE]
        for a in architectures:
            command += ["-gencode", f"arch=compute_{a},code=sm_{a}"]
        command += ["-o", "/dev/null", "-"]
        run = subprocess.run(command, input=text, capture_output=True, text=True)
        if run.returncode:
            raise CompileError(run.stderr)
        return run.stderr


def nvrtc() -> Nvrtc | None:
    """From a package of NVIDIA's, or else the system's"""
    spec = importlib.util.find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else []
    found = [path for f in folders for path in Path(f).glob("*/lib/libnvrtc.so.*")]
    oldest = min(found, key=lambda path: path.name, default=None)  # newer ones leave out old GPUs
    path = oldest or ctypes.util.find_library("nvrtc")
    return Nvrtc(str(path)) if path else None


def nvcc() -> Nvcc | None:
    path = shutil.which("nvcc")
    return Nvcc(path) if path else None


def complaints(log: str, nothing_spills: tuple[int, ...]) -> list[str]:
    """What is to be mended: warnings; and, on some architectures, spills to memory of what does not
    fit into registers."""
    found = [line for line in log.splitlines() if "warning" in line and "deprecated" not in line]
    pattern = (
        r"function '(\w+)' for 'sm_(\d+)'\n.*\n.* (\d+ bytes spill stores, \d+ bytes spill loads)"
    )
    for kernel, architecture, spilled in re.findall(pattern, log):
        if int(architecture) in nothing_spills and re.search(r"[1-9]", spilled):
            found.append(f"{kernel} on sm_{architecture}: {spilled}")
    return found
