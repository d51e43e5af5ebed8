"""cupy.cuda.cublas without a GPU: the products that the library asks for, by NumPy.

Stricter than cuBLAS: matrices must lie within one array, which is alive, and in their leading
dimension, and what is written to must be written to once.
"""

import ctypes
import weakref

import numpy as np

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F, CUBLAS_COMPUTE_32F_FAST_TF32 = 68, 70, 77
CUBLAS_GEMM_DEFAULT = -1
_DTYPES = {0: np.dtype(np.float32), 1: np.dtype(np.float64)}  # runtime.CUDA_R_32F, CUDA_R_64F
_arrays = weakref.WeakValueDictionary()  # by where their memory begins


def pointer(host: np.ndarray) -> int:
    """Where an array begins; its memory may be used from now on, as long as it lives."""
    owner = host
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    _arrays[owner.__array_interface__["data"][0]] = owner
    return host.__array_interface__["data"][0]


def gemmStridedBatchedEx(
    handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB,
    beta, C, Ctype, ldc, strideC, batchCount, computeType, algo
):  # fmt: skip
    """C ← α·op(A) op(B) + β·C, a batch of matrices in columns"""
    dtype = _DTYPES[Ctype]
    computes = (70,) if Ctype else (68, 77)
    if not Atype == Btype == Ctype or computeType not in computes or algo != CUBLAS_GEMM_DEFAULT:
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")
    if handle != "handle" or min(m, n, k, batchCount) < 1:
        raise RuntimeError("CUBLAS_STATUS_INVALID_VALUE")
    number = ctypes.c_double if Ctype else ctypes.c_float
    alpha, beta = (number.from_address(p).value for p in (alpha, beta))
    a = _columns(A, (m, k) if transa == CUBLAS_OP_N else (k, m), lda, strideA, batchCount, dtype)
    b = _columns(B, (k, n) if transb == CUBLAS_OP_N else (n, k), ldb, strideB, batchCount, dtype)
    c = _columns(C, (m, n), ldc, strideC, batchCount, dtype)
    places = np.unique(c[1])
    if len(places) != c[1].size:
        raise RuntimeError("cuBLAS: matrices that are written to overlap")
    a, b = (
        x[0] if t == CUBLAS_OP_N else x[0].swapaxes(1, 2) for x, t in ((a, transa), (b, transb))
    )
    with np.errstate(all="ignore"):
        result = dtype.type(alpha) * (a @ b)
        c[0][...] = result if beta == 0 else result + dtype.type(beta) * c[0]


def gemmEx(
    handle, transa, transb, m, n, k, alpha, A, Atype, lda, B, Btype, ldb, beta, C, Ctype, ldc,
    computeType, algo
):  # fmt: skip
    """The same of one matrix"""
    one = 0, 1  # stride and count
    gemmStridedBatchedEx(
        handle, transa, transb, m, n, k, alpha, A, Atype, lda, 0, B, Btype, ldb, 0,
        beta, C, Ctype, ldc, *one, computeType, algo
    )  # fmt: skip


def _columns(start, shape, leading, stride, count, dtype):
    """A batch of matrices stored column by column, (count, rows, columns), and its places"""
    rows, columns = shape
    if leading < max(1, rows):
        raise RuntimeError(f"CUBLAS_STATUS_INVALID_VALUE: leading dimension {leading} < {rows}")
    size = dtype.itemsize
    last = start + ((count - 1) * stride + (columns - 1) * leading + rows) * size
    if not any(
        low <= start and last <= low + owner.nbytes and owner.dtype == dtype
        for low, owner in list(_arrays.items())
    ):
        raise RuntimeError("cuBLAS was given memory that is not an array's")
    length = (last - start) // size
    flat = np.frombuffer((ctypes.c_char * (length * size)).from_address(start), dtype)
    at = (
        np.arange(count)[:, None, None] * stride
        + np.arange(columns) * leading
        + np.arange(rows)[:, None]
    )
    strides = stride * size, size, leading * size
    view = np.lib.stride_tricks.as_strided(flat, (count, rows, columns), strides, writeable=True)
    return view, at
