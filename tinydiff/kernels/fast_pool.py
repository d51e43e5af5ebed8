"""Max-pooling a few images at a time, in the cache, tap after tap over all windows (float32).

    best ← max(best, seen),  switch ← tap where seen > best     seen: each window's pixel at the tap

A tap sees pixels that lie apart, C numbers each: they are moved together (`pixels.move`), and all
that follows is done on arrays without gaps.  Taps come in order, so a larger one is a later one:
the switch is the largest of those that improved on what was there, and it fits a byte.
"""

import math

import numpy as np

from tinydiff.kernels import plain
from tinydiff.kernels.pixels import move
from tinydiff.kernels.window import Window
from tinydiff.kernels.workers import empty, parallel, piece, scratch


def max_pool(x, window: Window):
    """`plain.max_pool`"""
    x = np.ascontiguousarray(x)
    taps = list(window.taps())
    y = empty(len(x), *window.out, x.shape[3])
    switches = np.empty(y.shape, np.min_scalar_type(len(taps) - 1))

    def work(low, high, _):
        padded = plain.pad(x[low:high], window, value=-np.inf)
        best, switch = y[low:high], switches[low:high]
        seen, tap = scratch("seen", *best.shape), np.empty(best.shape, switches.dtype)
        better = np.empty(best.shape, bool)
        move(padded[taps[0][2]], best)
        switch[...] = 0
        for k, (_, _, where) in enumerate(taps[1:], 1):
            move(padded[where], seen)
            np.greater(seen, best, out=better)
            np.maximum(best, seen, out=best)
            np.maximum(switch, np.multiply(better, k, out=tap, dtype=tap.dtype), out=switch)
        if np.isnan(best).any():  # no number is greater, or is not
            best[...], switch[...] = plain.max_pool(x[low:high], window)

    parallel(work, len(x), _images(y), x.size)
    return y, switches


def max_pool_grad(g, switches, window: Window):
    """`plain.max_pool_grad`"""
    g = np.ascontiguousarray(g)
    n, channels = len(g), g.shape[3]
    gx = empty(n, *window.image, channels)
    spans = [d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True)]
    apart = all(s >= span for s, span in zip(window.stride, spans, strict=True))
    whole = window.padded == window.image
    covered = tuple(n * s for n, s in zip(window.out, window.stride, strict=True))
    tiled = whole and covered == window.image and window.stride == window.kernel == tuple(spans)

    def work(low, high, _):
        slope, switch, target = g[low:high], switches[low:high], gx[low:high]
        padded = target if whole else scratch("frame", len(target), *window.padded, channels)
        if not tiled:
            padded[...] = 0
        here, share = np.empty(slope.shape, bool), scratch("seen", *slope.shape)
        for k, (_, _, where) in enumerate(window.taps()):
            np.copyto(share, np.equal(switch, k, out=here))  # slower within the product
            np.multiply(slope, share, out=share)
            if apart:
                move(share, padded[where])
            else:
                np.add(padded[where], share, out=padded[where])
        if not whole:
            np.copyto(target, padded[window.inner])

    parallel(work, n, _images(g), gx.size)
    return gx


def _images(pooled) -> int:
    """How many images make a piece of what comes out of the pooling"""
    return piece(pooled.size) // math.prod(pooled.shape[1:])
