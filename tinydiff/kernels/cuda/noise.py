"""Random numbers made where they are needed, from a key and their place: see noise.cu

A key is one draw of the process's generator, so that seed and checkpoint decide all, and 16 million
numbers cost the host no more than one.
"""

import cupy

from tinydiff.kernels.cuda.source import THREADS, Source, blocks_for, contiguous

_kernels = Source("noise")


def words(count: int, key: int, position: int = 0, stream: int = 0):
    """Philox's words, uint32, from a position on: four at each, ``count`` in all, a multiple of 4

    The counter's halves and the key are 64-bit numbers.
    """
    y = cupy.empty(count, cupy.uint32)
    numbers = (_signed(a) for a in (key, position, stream))
    _kernels.words(blocks_for(count // 4), THREADS, y, count, *numbers)
    return y


def uniform(shape, key: int, dtype=cupy.float32, first: int = 0):
    """Numbers first, first + 1, … of the key, evenly from [0, 1), multiples of 2⁻²⁴"""
    y = cupy.empty(shape, dtype)
    _kernels.uniform(blocks_for(y.size // 4), THREADS, y, y.size, _signed(key), first)
    return y


def dropout(x, p: float, key: int, first: int = 0):
    """x/(1 − p) where the number of the key is at least p, 0 elsewhere; its own gradient rule too

    Numbers first, first + 1, … belong to x, which may be a part of a batch.
    """
    x = contiguous(x)
    y = cupy.empty_like(x)
    settings = _signed(key), first, p, 1 / (1 - p)
    _kernels.dropout(blocks_for(x.size // 4), THREADS, x, y, x.size, *settings)
    return y


def _signed(number: int) -> int:
    """64 bits as the size that C makes of them"""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
