"""A CUDA graph: kernels with their arguments, recorded once, and asked for all together.

To ask for a kernel takes Python and CUDA some 10 to 40 µs, in which a GPU adds up a hundred million
numbers: in small networks it waits most of the time.  While a stream captures, kernels are written
down and not computed; what comes of that is launched in one call, on the same arrays each time.

Work that cannot be repeated like this must not be recorded as if it could.  What crosses between
host and device would be the first time's numbers for ever, and so would a random key: both raise
`NotRepeatable` here.

Source: NVIDIA, "CUDA Programming Guide", section "CUDA Graphs".
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import cupy
from cupy import cuda

from tinydiff.kernels.cuda.cublas import Products


class NotRepeatable(RuntimeError):
    """Work that is to be recorded needs the host."""


class _Thread(threading.local):
    stream = products = None  # made when first something is recorded
    capturing = False


_thread = _Thread()


def is_capturing() -> bool:
    """Is what this thread asks for being written down, and not computed?"""
    return _thread.capturing


def products() -> Products:
    """cuBLAS, while this thread captures."""
    return _thread.products


class Recorder:
    """`again.Recorder`, which writes the work down and does not do it the first time.

    All that one Recorder has recorded shares memory of its own: arrays that one work leaves behind
    are there for the next, and nobody else writes to what they have let go.  So a Recorder must
    live as long as anything it has recorded is used.
    """

    def __init__(self):
        self._memory = cuda.MemoryPool()
        if _thread.stream is None:
            stream = cuda.Stream(non_blocking=True)
            _thread.stream, _thread.products = stream, Products(stream)
        self._stream, self._products = _thread.stream, _thread.products  # with its workspace

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Raises whatever keeps the work from being recorded, `NotRepeatable` for one."""
        cupy.get_default_memory_pool().free_all_blocks()  # for what it will take
        stream = self._stream
        with cuda.using_allocator(self._memory.malloc), stream, _nothing_from_the_host():
            stream.begin_capture()
            try:
                work()
            except BaseException:
                with contextlib.suppress(Exception):  # that it has been broken off
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        return graph.launch

    def close(self) -> None:
        """Give back the memory between the arrays: nothing that was recorded is wanted any more."""
        self._memory.free_all_blocks()


@contextlib.contextmanager
def _nothing_from_the_host():
    cuda.set_pinned_memory_allocator(_refuse)  # through which all goes that comes from there
    _thread.capturing = True
    try:
        yield
    finally:
        _thread.capturing = False
        cuda.set_pinned_memory_allocator(cupy.get_default_pinned_memory_pool().malloc)


def _refuse(size: int):
    if not _thread.capturing:  # another thread's
        return cupy.get_default_pinned_memory_pool().malloc(size)
    raise NotRepeatable(f"{size} bytes are sent to the device in the middle")
