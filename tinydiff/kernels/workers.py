"""A few threads that share the work of one kernel, each with BLAS at a single thread.

NumPy's loops and BLAS release Python's lock, so threads over slices of the batch keep all cores
busy, elementwise chains included, which a threaded BLAS alone leaves to one.  Each worker takes
one contiguous share: the same number of workers gives the same bits.

``TINYDIFF_NUM_THREADS`` sets the number; by default, the cores available to the process.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
from threadpoolctl import ThreadpoolController

from tinydiff.backend import give_up

SMALL = 1 << 19  # elements below which waking a thread, 0.1 ms, costs more than it saves


def _thread_count() -> int:
    wanted = os.environ.get("TINYDIFF_NUM_THREADS", "").strip()
    if wanted:
        if not wanted.isdecimal() or int(wanted) < 1:
            give_up(f"TINYDIFF_NUM_THREADS is {wanted!r}: set it to a whole number from 1 on.")
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


THREADS = _thread_count()
_lent = 0  # cores that other processes, at work for this one, keep busy
_pool: ThreadPoolExecutor | None = None


class _Local(threading.local):
    """Each thread's own: how many times inside `single_threaded_blas`, and its buffers."""

    depth = 0

    def __init__(self):
        self.buffers: dict[str, np.ndarray] = {}


_local = _Local()


class _SingleThreadedBlas:
    """``with single_threaded_blas:`` BLAS uses one thread inside, what it had before after.

    Every product of the library belongs inside: the threads of a BLAS keep a core busy waiting
    for some 25 ms after each product they share, and the workers would miss it.  BLAS's number is
    the process's: of several threads inside, the first sets, the last restores.  For a thread that
    is inside, entering again costs next to nothing.
    """

    def __init__(self):
        self.libraries: list | None = None
        self.inside, self.before, self.lock = 0, [], threading.Lock()

    def __enter__(self) -> None:
        _local.depth += 1
        if _local.depth > 1:
            return
        with self.lock:
            if self.libraries is None:
                found = ThreadpoolController().select(user_api="blas").lib_controllers
                self.libraries = [lib for lib in found if lib.num_threads is not None]
            if self.inside == 0:
                self.before = [(lib, lib.get_num_threads()) for lib in self.libraries]
                self._set((lib, 1) for lib in self.libraries)
            self.inside += 1

    def __exit__(self, *exception) -> None:
        _local.depth -= 1
        if _local.depth:
            return
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self._set(self.before)

    def after_fork(self) -> None:
        """In the child, only the thread that forked is left."""
        if self.inside and not _local.depth:
            self._set(self.before)
        self.inside, self.lock = min(_local.depth, 1), threading.Lock()

    @staticmethod
    def _set(numbers) -> None:
        for lib, threads in numbers:
            if lib.get_num_threads() != threads:
                # threadpoolctl from 3.8 on lets only the thread that asked first change the
                # number, until it lets go; here the last one out need not be the first one in.
                let_go = getattr(lib, "clear_controlling_thread", lambda force: None)
                let_go(force=True)
                lib.set_num_threads(threads)
                let_go(force=True)


single_threaded_blas = _SingleThreadedBlas()


def _after_fork() -> None:
    global _pool
    _pool = None  # threads do not survive a fork
    single_threaded_blas.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def threads_for(elements: int) -> int:
    """How many threads share a job of that size"""
    return 1 if _lent or elements < SMALL else THREADS


def piece(elements: int) -> int:
    """How many elements of a job of that size a worker should take through a chain at a time.

    A cache-full; four times as many where threads share the job, since between NumPy's calls they
    hand over Python's lock, which takes as long as some 30,000 additions.
    """
    return 1 << 16 if threads_for(elements) == 1 else 1 << 18


def lend() -> None:
    """A core has got another task: until it is taken back, all stays on the calling thread."""
    global _lent
    _lent += 1


def take_back() -> None:
    """One that was lent is free again."""
    global _lent
    _lent = max(0, _lent - 1)


def parallel(
    work: Callable[[int, int, int], None], n: int, chunk: int, elements: int, buffer: int = 0
) -> None:
    """Call work(low, high, worker) for consecutive chunks of range(n), shared out over workers.

    elements   the size of the whole job in array elements; small jobs stay on this thread
    buffer     NumPy's, in elements, if not as it is: it copies rows shorter than that which meet
               many others, and longer ones not
    """
    global _pool
    chunk = max(1, chunk)
    workers = max(1, min(threads_for(elements), n))

    def share(worker: int) -> None:
        low, high = n * worker // workers, n * (worker + 1) // workers
        before = np.setbufsize(buffer) if buffer else None
        try:
            for i in range(low, high, chunk):
                work(i, min(i + chunk, high), worker)
        finally:
            if before is not None:
                np.setbufsize(before)

    with single_threaded_blas:
        if workers == 1:
            return share(0)
        if _pool is None:
            _pool = ThreadPoolExecutor(max(THREADS - 1, 1), thread_name_prefix="tinydiff")
        futures = [_pool.submit(share, k) for k in range(1, workers)]
        try:
            share(0)
        finally:
            wait(futures)  # whatever went wrong here, nobody writes into the arrays any more
        for future in futures:
            future.result()


def parallel_sum(work: Callable, n: int, chunk: int, elements: int, shape) -> np.ndarray:
    """Σ over chunks of what work(low, high, out) writes into ``out``, an array of that shape."""
    if n == 0:
        return np.zeros(shape, np.float32)
    totals: list = [None] * THREADS

    def add(low: int, high: int, worker: int) -> None:
        total = totals[worker]
        if total is None:
            totals[worker] = np.empty(shape, np.float32)
            work(low, high, totals[worker])
        else:
            part = scratch("part", *shape)
            work(low, high, part)
            np.add(total, part, out=total)

    parallel(add, n, chunk, elements)
    first, *rest = (total for total in totals if total is not None)
    for other in rest:
        first += other
    return first


_LINE = 16  # numbers in a line of the cache


def empty(*shape: int) -> np.ndarray:
    """A new float32 array, contents undefined, that begins where a line of the cache does.

    NumPy's own begin a quarter into one, and then each vector register straddles two: a sum in
    place takes half as long again.
    """
    size = math.prod(shape)
    room = np.empty(size + _LINE, np.float32)
    address, _ = room.__array_interface__["data"]
    first = -address // room.itemsize % _LINE
    return room[first : first + size].reshape(shape)


def scratch(name: str, *shape: int) -> np.ndarray:
    """This thread's own float32 buffer of that name, reused by every kernel; contents undefined."""
    size = math.prod(shape)
    buffers = _local.buffers
    buffer = buffers.get(name)
    if buffer is None or buffer.size < size:
        buffer = buffers[name] = empty(size)
    return np.ndarray(shape, np.float32, buffer)
