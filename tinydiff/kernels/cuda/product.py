"""Matrix products, of batches too, as they lie in memory, by cuBLAS.

    out ← scale·a b + keep·out        a (n, h, r, k), b (n, h, k, c), out (n, h, r, c)

cupy.matmul copies every operand of more than two axes that is not contiguous, a transposed matrix
for one, and writes to contiguous memory.  cuBLAS itself reads a matrix either way round and writes
wherever rows are contiguous; and of a batch it asks but that its matrices lie equally far apart.
Nor does cupy.matmul multiply batches in TF32, only single matrices.  And what is recorded for later
(graph.py) must give the same bits as what is computed now: so both ask cuBLAS for the same.
"""

import cupy
import numpy as np
from cupy import cuda

from tinydiff import backend
from tinydiff.kernels.cuda.graph import is_capturing, products


def product(a, b, out, scale=1.0, keep=0.0) -> None:
    """out ← scale·a b + keep·out; out may be a view, and with keep = 0 hold anything."""
    row = _leading(out)
    if row is None and _leading(_t(out)) is not None:  # outᵀ = bᵀ aᵀ
        return product(_t(b), _t(a), _t(out), scale, keep)
    if row is None:
        contiguous = cupy.ascontiguousarray(out)
        product(a, b, contiguous, scale, keep)
        out[...] = contiguous
        return None
    a, b = _readable(a), _readable(b)
    n, h = out.shape[:2]
    if None in map(_apart, (a, b, out)):  # the shorter axis one by one
        for i in range(min(n, h)):
            part = slice(i, i + 1)
            where = part if n <= h else (slice(None), part)
            product(a[where], b[where], out[where], scale, keep)
        return None
    _gemm(a, b, out, row, scale, keep)
    return None


def matmul(a, b, out=None):
    """a @ b of matrices, or of batches (…, r, k) and (…, k, c) with the same leading axes"""
    y = cupy.empty((*a.shape[:-1], b.shape[-1]), a.dtype) if out is None else out
    product(*(x[(None,) * (4 - x.ndim)] for x in (a, b, y)))
    return y


def linear(x, weight, bias):
    """`plain.linear`"""
    y = matmul(x, weight)
    return y if bias is None else cupy.add(y, bias, out=y)


def matmul_t(a, b):
    """`plain.matmul_t`"""
    return matmul(a.T, b)


def _gemm(a, b, out, row: int, scale: float, keep: float) -> None:
    """One call; cuBLAS goes by columns, so that it is given outᵀ = bᵀ aᵀ."""
    n, h, rows, columns = out.shape
    cublas, runtime = cuda.cublas, cuda.runtime
    if out.dtype == np.float64:
        kind, arithmetic = runtime.CUDA_R_64F, cublas.CUBLAS_COMPUTE_64F
    else:
        kind, arithmetic = runtime.CUDA_R_32F, cublas.CUBLAS_COMPUTE_32F
        if backend.tf32:
            arithmetic = cublas.CUBLAS_COMPUTE_32F_FAST_TF32
    factors = np.array([scale, keep], out.dtype)  # read before the call returns
    scale_at = factors.ctypes.data
    operations, operands, alone = [], [], n * h == 1
    for x in (b, a):
        leading = _leading(x)
        operations.append(cublas.CUBLAS_OP_N if leading is not None else cublas.CUBLAS_OP_T)
        leading = _leading(_t(x)) if leading is None else leading
        operands.append((x.data.ptr, kind, leading) + (() if alone else (_apart(x),)))
    sizes, target = (columns, rows, a.shape[3]), (out.data.ptr, kind, row)
    arguments = *operations, *sizes, scale_at, *operands[0], *operands[1]
    arguments += scale_at + factors.itemsize, *target
    arguments += () if alone else (_apart(out), n * h)
    name = "gemmEx" if alone else "gemmStridedBatchedEx"
    arguments += arithmetic, cublas.CUBLAS_GEMM_DEFAULT
    if is_capturing():
        getattr(products(), name)(*arguments)
    else:
        getattr(cublas, name)(cuda.get_cublas_handle(), *arguments)


def _t(a):
    return a.swapaxes(2, 3)


def _leading(a) -> int | None:
    """How far apart the rows lie, in elements, if each is contiguous; else None"""
    rows, columns = a.shape[2:]
    row, column = (s // a.itemsize for s in a.strides[2:])
    if columns > 1 and column != 1:
        return None
    if rows == 1:  # there is no next row, whatever its stride says
        return columns
    return row if row >= columns else None


def _apart(a) -> int | None:
    """How far apart the matrices lie, in elements, if all equally far; else None"""
    n, h = a.shape[:2]
    first, second = (s // a.itemsize for s in a.strides[:2])
    if h == 1:
        return first
    return second if n == 1 or first == h * second else None


def _readable(a):
    """a, copied if neither its rows nor its columns are contiguous, or it runs backwards"""
    ready = min(a.strides) >= 0 and (_leading(a) is not None or _leading(_t(a)) is not None)
    return a if ready else cupy.ascontiguousarray(a)
