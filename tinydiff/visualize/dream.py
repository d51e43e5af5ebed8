"""DeepDream: a picture, changed so that a network sees more of what it sees in it already.

    for each size, from small to large:   x = picture at this size + detail, enlarged
                                          x ← x + η·g/mean|g|, jittered, so many times
                                          detail = x − picture at this size

The small sizes, octaves, give large shapes, and the large ones draw fine shapes into those.  What
is to grow: all that a layer answers, ½‖a‖² (`energy`), or what of it is in a guide (`resembling`).

Source: A. Mordvintsev et al., "Inceptionism: Going Deeper into Neural Networks", 2015, and its
notebook "dream.ipynb".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinydiff import ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.checks import at_least_one, positive
from tinydiff.nn import Module, frozen
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor
from tinydiff.visualize.ascent import ascend, jittered
from tinydiff.visualize.gradient import input_of
from tinydiff.visualize.target import Objective, activation


def deep_dream(
    model: Module,
    images: np.ndarray,
    target: Objective,
    *,
    octaves: int = 4,
    scale: float = 1.4,
    steps: int = 10,
    rate: float = 0.012,
    jitter: int = 32,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Yields the pictures after each of octaves·steps steps, in their full size: a film.

    images  (N, H, W, C), uint8 or floats in [−1, 1]; what is yielded, arrays of the backend, too
    scale   of the sides, from one octave to the next
    steps, rate, jitter   in each octave, as in `ascend` and `jittered`

    Raises what `ascend` does, and ValueError for octaves too small for the network.
    """
    x = input_of(model, images)
    sizes = octave_sizes(*x.shape[1:3], octaves=octaves, scale=scale)
    at_least_one(steps=steps)
    positive(rate=rate)
    return _dreams(model, x, jittered(target, jitter, rng=rng), sizes, steps, rate)


def _dreams(model, picture, target, sizes, steps, rate) -> Iterator:
    picture, detail = asarray(picture), None
    for size in sizes:
        small = resized(picture, size)
        start = small if detail is None else (small + resized(detail, size)).clip(-1, 1)
        for x in ascend(model, to_numpy(start), target, steps=steps, rate=rate):
            yield resized(x, sizes[-1])
        detail = x - small


def octave_sizes(height: int, width: int, *, octaves: int, scale: float) -> list[tuple[int, int]]:
    """(H, W)/scale^k, rounded, k = octaves − 1 … 0: the last is the picture's own."""
    at_least_one(octaves=octaves)
    if not 1 < scale < np.inf:
        raise ValueError(f"scale is {scale}, expected a number > 1")
    factors = [scale**k for k in reversed(range(octaves))]
    sizes = [(round(height / factor), round(width / factor)) for factor in factors]
    if min(sizes[0]) < 1:
        raise ValueError(
            f"octaves={octaves}, scale={scale}: the smallest would be {sizes[0]} of "
            f"({height}, {width}) pixels; take fewer"
        )
    return sizes


def resized(x, size: tuple[int, int]):
    """Pictures (N, H, W, C) by bilinear interpolation, arrays of the backend."""
    return x if x.shape[1:3] == tuple(size) else ops.resize_bilinear2d(Tensor(x), size=size).data


def energy(layer: str) -> Objective:
    """½‖a‖², as a mean: whatever the layer answers, more of it."""

    def size(model: Module, x: Tensor) -> Tensor:
        answer = activation(model, x, layer)
        return ops.square(answer.reshape(len(answer), -1)).mean(axis=1) / 2

    return size


def resembling(model: Module, layer: str, guide: np.ndarray) -> Objective:
    """mean over places i of max_j a_i·y_j, y_j what the layer answers at places j of the guide.

    guide  a picture or several, of any size, uint8 or floats in [−1, 1]
    """
    with frozen(model), no_grad():
        answer = activation(model, Tensor(asarray(input_of(model, guide))), layer)
    known = answer.reshape(-1, answer.shape[-1]).data.T

    def likeness(model: Module, x: Tensor) -> Tensor:
        answer = activation(model, x, layer)
        places = answer.reshape(len(answer), -1, answer.shape[-1])
        return ops.matmul(places, known).max(axis=2).mean(axis=1)

    return likeness
