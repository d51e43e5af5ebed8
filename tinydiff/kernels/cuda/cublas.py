"""cuBLAS where CuPy will not call it: while a stream captures (see graph.py).

CuPy refuses, since cuBLAS would take memory for its workspace in the middle of a graph.  Here it is
given one beforehand, and the same two functions are called with the same arguments.

Source: NVIDIA, "cuBLAS", sections "CUDA Graphs Support" and "cublasSetWorkspace()".
"""

from __future__ import annotations

import ctypes
import sys

import cupy
from cupy import cuda

_WORKSPACE = 32 << 20  # bytes: what cuBLAS takes for itself on a GPU of 2022 (sm_90)
_INT, _LONG, _AT = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
_MATRIX, _MATRICES = (_AT, _INT, _INT), (_AT, _INT, _INT, _LONG)
_SIGNATURES = {
    "cublasCreate_v2": (ctypes.POINTER(_AT),),
    "cublasSetStream_v2": (_AT, _AT),
    "cublasSetWorkspace_v2": (_AT, _AT, ctypes.c_size_t),
    "cublasGemmEx": (
        *(_AT, _INT, _INT, _INT, _INT, _INT, _AT),
        *(*_MATRIX, *_MATRIX, _AT, *_MATRIX, _INT, _INT),
    ),
    "cublasGemmStridedBatchedEx": (
        *(_AT, _INT, _INT, _INT, _INT, _INT, _AT),
        *(*_MATRICES, *_MATRICES, _AT, *_MATRICES, _INT, _INT, _INT),
    ),
}


class Products:
    """cuBLAS on one stream, for good, with a workspace of its own."""

    def __init__(self, stream):
        # The library that CuPy has loaded already.
        version = cuda.runtime.runtimeGetVersion() // 1000
        windows = sys.platform == "win32"
        self._library = ctypes.CDLL(
            f"cublas64_{version}.dll" if windows else f"libcublas.so.{version}"
        )
        self._handle, self._workspace = _AT(), cupy.empty(_WORKSPACE, cupy.uint8)
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        self._call("cublasSetStream_v2", self._handle, stream.ptr)
        at, size = self._workspace.data.ptr, self._workspace.nbytes
        self._call("cublasSetWorkspace_v2", self._handle, at, size)

    def gemmEx(self, *arguments) -> None:
        """`cupy.cuda.cublas.gemmEx` without the handle"""
        self._call("cublasGemmEx", self._handle, *arguments)

    def gemmStridedBatchedEx(self, *arguments) -> None:
        """`cupy.cuda.cublas.gemmStridedBatchedEx` without the handle"""
        self._call("cublasGemmStridedBatchedEx", self._handle, *arguments)

    def _call(self, name: str, *arguments) -> None:
        function = getattr(self._library, name)
        function.argtypes, function.restype = _SIGNATURES[name], _INT
        status = function(*arguments)
        if status:
            raise RuntimeError(f"{name} failed with status {status}")
