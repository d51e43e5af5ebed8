"""A line between two processes, one of which is a fork of the other: words and arrays.

Words go through a pipe, as JSON; arrays through memory that both see, one piece for each
direction, and only what does not fit through the pipe.  So an array costs one copy.  Both sides
take turns: what `receive` returns lies in that memory, until the other side sends again.
"""

from __future__ import annotations

import itertools
import json
import mmap
from collections.abc import Sequence
from multiprocessing import Pipe

import numpy as np

SLAB = 1 << 26  # bytes of memory for one direction; what is never touched takes no room
_ALIGNED = 64


class Line:
    """Made before the fork; afterwards each side takes an end, `first` or `second`."""

    def __init__(self):
        here, there = Pipe()
        to_there, to_here = mmap.mmap(-1, SLAB), mmap.mmap(-1, SLAB)
        self.first = End(here, to_there, to_here)
        self.second = End(there, to_here, to_there)


class End:
    """One side's hold of a line; EOFError or OSError once the other side is gone."""

    def __init__(self, pipe, outgoing: mmap.mmap, incoming: mmap.mmap):
        self._pipe, self._outgoing, self._incoming = pipe, outgoing, incoming

    def send(self, words: dict, arrays: Sequence[np.ndarray] = ()) -> None:
        """``words`` as JSON can hold them, and numeric arrays."""
        places, too_long, used = [], [], 0
        for a in arrays:
            fits = used + a.nbytes <= SLAB
            places.append([a.dtype.str, a.shape, used if fits else None])
            if fits:
                np.ndarray(a.shape, a.dtype, self._outgoing, used)[...] = a
                used += -(-a.nbytes // _ALIGNED) * _ALIGNED
            else:
                too_long.append(a)
        self._pipe.send_bytes(json.dumps([words, places]).encode())
        for a in too_long:
            self._pipe.send_bytes(np.ascontiguousarray(a).reshape(-1).view(np.uint8))

    def receive(self) -> tuple[dict, list[np.ndarray]]:
        """What the other side sent; waits for it."""
        words, places = json.loads(self._pipe.recv_bytes())
        arrays = []
        for dtype, shape, start in places:
            if start is None:
                arrays.append(np.frombuffer(self._pipe.recv_bytes(), dtype).reshape(shape))
            else:
                arrays.append(np.ndarray(shape, dtype, self._incoming, start))
        return words, arrays

    def close(self) -> None:
        self._pipe.close()


def shared_views(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Zeros in the shapes of some arrays, in memory that this process and its later forks share."""
    sizes = [-(-a.nbytes // _ALIGNED) * _ALIGNED for a in arrays]
    memory = mmap.mmap(-1, max(1, sum(sizes)))
    starts = itertools.accumulate(sizes, initial=0)
    return [
        np.ndarray(a.shape, a.dtype, memory, start)
        for a, start in zip(arrays, starts, strict=False)
    ]
