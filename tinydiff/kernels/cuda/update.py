"""One step of an optimiser on a GPU: each number is read once and written once, see update.cu"""

from collections.abc import Sequence

import cupy

from tinydiff.kernels.cuda.source import THREADS, Source, blocks_for, contiguous

_kernels = Source("update")
_SHARES = 512  # blocks that add up squares


def sgd(theta, grad, velocity, *, lr, momentum, nesterov, weight_decay, unless=None) -> None:
    """`update.sgd`"""
    settings = lr, momentum, nesterov, weight_decay, theta.size, unless
    _kernels.sgd(blocks_for(theta.size), THREADS, theta, grad, velocity, *settings)


def adam(theta, grad, mean, square, *, rate, betas, eps, l2, shrink, unless=None) -> None:
    """`update.adam`"""
    beta1, beta2 = betas
    factors = rate, beta1, beta2, 1 - beta1, 1 - beta2, eps, l2, shrink
    arrays = theta, grad, mean, square
    _kernels.adam(blocks_for(theta.size), THREADS, *arrays, *factors, theta.size, unless)


def move_towards(average, target, fraction, unless=None) -> None:
    """`update.move_towards`"""
    blocks = blocks_for(average.size)
    _kernels.move_towards(blocks, THREADS, average, target, fraction, average.size, unless)


def norm(arrays: Sequence):
    """√Σ a² over all arrays, a 0-d float64 array on the device"""
    total = cupy.zeros((), cupy.float64)
    for a in arrays:
        blocks = min(blocks_for(a.size), _SHARES)
        shares = cupy.empty(blocks, cupy.float64)
        _kernels.squares(blocks, THREADS, a, shares, a.size)
        _kernels.add_up(1, THREADS, shares, total, blocks)
    return cupy.sqrt(total)


def shrink(arrays: Sequence, norm, max_norm: float) -> None:
    """`update.shrink`; norm stays on the device"""
    for a in arrays:
        flat = contiguous(a)
        _kernels.shrink(blocks_for(a.size), THREADS, flat, norm, max_norm, a.size)
        if flat is not a:
            a[...] = flat


class Finite:
    """`update.Finite`, which leaves the device alone for some steps at a time.

    stop  on the device: not 0 from the step on whose numbers were not finite
    """

    every = 16

    def __init__(self):
        self.stop = cupy.zeros((), cupy.int32)
        self._noted = cupy.zeros(2, cupy.float64)

    def look(self, value, what: int, step: int) -> None:
        """Note a 0-d array if it is the first: its step, what it is, and its value."""
        _kernels.look(1, 1, value, what, step, self.stop, self._noted)

    def found(self) -> tuple[int, int, float] | None:
        """What was noted; waits for the device."""
        step = int(self.stop)
        if step == 0:
            return None
        what, value = self._noted.tolist()
        return step, int(what), value
