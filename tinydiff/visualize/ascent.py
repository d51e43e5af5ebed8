"""Images by gradient ascent: what picture does a neuron, a channel or a class have in mind?

    x ← x + η·g/mean|g|,  g = ∂a/∂x        and then each of the regularisers, in order

The weights are fixed, and the picture learns.  By itself this finds noise that the network answers
to strongly; what makes pictures of it says what else a picture should be: regularisers that change
x after each step (visualize/regularise.py), penalties that are taken from a (visualize/penalty.py),
a gradient with more of the coarse in it (visualize/fourier.py), and jitter, here.

Sources: D. Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009; K. Simonyan
et al., "Deep Inside Convolutional Networks", 2014, section 2 (classes); A. Mordvintsev et al.,
"Inceptionism", 2015 (jitter, and steps that do not depend on the size of the gradient).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import asarray, xp
from tinydiff.checks import at_least_one, positive
from tinydiff.nn import Module
from tinydiff.tensor import Tensor
from tinydiff.visualize.gradient import input_gradient, input_of
from tinydiff.visualize.regularise import Regulariser, clip
from tinydiff.visualize.target import Objective, Unit, activation


def ascend(
    model: Module,
    start: np.ndarray,
    target: Objective,
    *,
    steps: int = 100,
    rate: float = 0.05,
    along: Callable = lambda g: g,
    after: Sequence[Regulariser] = (clip,),
) -> Iterator:
    """Yields the pictures after each step, arrays of the backend: the last are the result.

    start   pictures to begin with, (N, H, W, C), uint8 or floats in [−1, 1]; see `noise`
    target  what is to grow: a Unit, or any objective; `one_each` has another for each picture
    rate    η, by how much a pixel changes in a step, on average; from black to white is 2
    along   makes of the gradient what to step along, as `fourier` does
    after   what happens to the pictures after each step: functions (x, k) → x, k = 1, 2, …

    The model is as before after each of them.  Raises what `input_gradient` does, and TypeError or
    ValueError for arguments that do not fit.
    """
    at_least_one(steps=steps)
    positive(rate=rate)
    return _climb(model, asarray(input_of(model, start)), target, steps, rate, along, after)


def _climb(model, x, target, steps, rate, along, after) -> Iterator:
    for k in range(1, steps + 1):
        g = along(input_gradient(model, x, target)[1])
        size = xp.abs(g).mean(axis=(1, 2, 3), keepdims=True)
        x = x + rate * g / xp.maximum(size, 1e-30)
        for regularise in after:
            x = regularise(x, k)
        yield x


def noise(
    shape: tuple[int, int, int, int],
    *,
    ground: float = 0.0,
    size: float = 0.1,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Pictures to begin with: normal noise of this size on a ground of −1, black, to 1, white."""
    if not -1 <= ground <= 1:
        raise ValueError(f"ground is {ground}, expected −1 ≤ ground ≤ 1")
    positive(size=size)
    drawn = backend.to_numpy(backend.randn(shape, rng=rng))
    return np.clip(ground + np.float32(size) * drawn, -1, 1)


def one_each(units: Sequence[Unit]) -> Objective:
    """For the first picture the first unit's number, and so on: all of one layer, found at once."""
    layers = sorted({unit.layer for unit in units})
    if len(layers) != 1:
        raise ValueError(f"units: expected those of one layer, got layers {layers}")

    def numbers(model: Module, x: Tensor) -> Tensor:
        if len(x) != len(units):
            raise ValueError(f"units: there are {len(units)} for {len(x)} pictures")
        answer = activation(model, x, layers[0])
        return ops.concat([unit.of(answer[i : i + 1]) for i, unit in enumerate(units)], axis=0)

    return numbers


def jittered(
    target: Objective, pixels: int, *, rng: np.random.Generator | None = None
) -> Objective:
    """The target of the pictures rolled by up to so many pixels each way, drawn at each call.

    What is only right at one place, such as a pattern of single pixels, does not last.  Backward
    rolls the gradient back.
    """
    at_least_one(pixels=pixels)

    def elsewhere(model: Module, x: Tensor) -> Tensor:
        drawn = (backend.rng if rng is None else rng).integers(-pixels, pixels + 1, 2)
        return target(model, rolled(x, *drawn.tolist()))

    return elsewhere


def rolled(x: Tensor, down: int, right: int) -> Tensor:
    """The pictures moved down and to the right; what leaves them comes in at the other side."""
    for axis, shift in ((1, down), (2, right)):
        cut = -shift % x.shape[axis]
        if cut:
            index = (slice(None),) * axis
            x = ops.concat([x[(*index, slice(cut, None))], x[(*index, slice(cut))]], axis=axis)
    return x
