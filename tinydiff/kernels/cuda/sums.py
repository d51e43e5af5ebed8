"""The gradient of a bias on a GPU: sums over all rows, in two steps so that every core has some.

CuPy gives each column, of which there are few, to a part of one block.
"""

import math

import cupy

from tinydiff.kernels.cuda.source import Source

_kernels = Source("sums")
_LEAST = 64  # rows that are worth a block
_FILL = 2048  # blocks that keep a large GPU busy


def sum_rows(a):
    """`plain.sum_rows`: Σ over all axes but the last"""
    columns = a.shape[-1]
    rows = math.prod(a.shape[:-1])
    across = -(-columns // 32)
    parts = max(1, min(rows // _LEAST, _FILL // across))
    a = cupy.ascontiguousarray(a)
    if parts > 1:
        a, rows = _sums(a, rows, columns, across, parts), parts
    return _sums(a, rows, columns, across, 1)[0]


def _sums(a, rows: int, columns: int, across: int, parts: int):
    sums = cupy.empty((parts, columns), a.dtype)
    _kernels.sum_rows((across, parts), (32, 8), a, sums, rows, columns, -(-rows // parts))
    return sums
