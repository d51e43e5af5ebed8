"""Feature inversion: what has a layer kept of a picture?  Another picture that it cannot tell apart

    min over x of  ‖Φ(x) − Φ₀‖²/‖Φ₀‖² + λ_TV·TV(x) + λ_α·‖x‖_α        Φ₀ what the layer said to the
                                                                     picture

by Adam, with a rate that falls to zero as a cosine.  Where the layer has kept a thing, it comes
back; where it has not, the picture is smooth and grey.  Φ is what the layer answers, or what is
made of that: for style, which channels answer together (visualize/style.py).

Source: A. Mahendran and A. Vedaldi, "Understanding Deep Image Representations by Inverting Them",
2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinydiff import nn, ops, optim
from tinydiff.backend import asarray, xp
from tinydiff.checks import at_least_one, positive
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor
from tinydiff.visualize.ascent import noise
from tinydiff.visualize.gradient import input_gradient, input_of
from tinydiff.visualize.penalty import alpha_norm, penalised, total_variation
from tinydiff.visualize.target import Objective, activation, activations


def answers_of(answer: Tensor) -> Tensor:
    """Φ as it is: (N, …, C) → (N, n)"""
    return answer.reshape(len(answer), -1)


class Wanted(NamedTuple):
    """Of a picture that is looked for: that a layer answers it as it does others.

    images  whose answers are known, uint8 or floats in [−1, 1]: one, or as many as are looked for
    layer   that gave them, by its path
    of      Φ, from the layer's answer (N, …, C) → (N, n)
    weight  how much that counts
    """

    images: np.ndarray
    layer: str
    of: Callable[[Tensor], Tensor] = answers_of
    weight: float = 1.0


def invert(
    model: nn.Module,
    images: np.ndarray,
    layer: str,
    *,
    steps: int = 200,
    rate: float = 0.05,
    smooth: float = 0.2,
    bounded: float = 0.01,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Yields, after each step, the pictures (N, H, W, C) found so far, arrays of the backend.

    images           whose answers are known, uint8 or floats in [−1, 1]
    layer            that gave them, by its path
    rate             of Adam in the first step: by how much a pixel changes
    smooth, bounded  λ_TV and λ_α; the less a layer has kept, the larger the first should be
    rng              draws the grey noise it begins with; default: the process's own

    Raises ValueError for a layer that there is not, or says nothing about these pictures, and what
    `input_gradient` does.
    """
    start = noise(input_of(model, images).shape, rng=rng)
    settings = {"steps": steps, "rate": rate, "smooth": smooth, "bounded": bounded}
    return descend(model, start, [Wanted(images, layer)], **settings)


def descend(
    model: nn.Module,
    start: np.ndarray,
    wanted: Sequence[Wanted],
    *,
    steps: int,
    rate: float,
    smooth: float,
    bounded: float,
) -> Iterator:
    """From the start, (N, H, W, C), to pictures that are answered as is wanted; as `invert`.

    Raises, too, ValueError unless each of the wanted has one picture, or as many as the start.
    """
    at_least_one(steps=steps)
    positive(rate=rate, smooth=smooth, bounded=bounded)
    target = penalised(alike(model, wanted), smooth, total_variation)
    for part in wanted:
        if len(part.images) not in (1, len(start)):
            raise ValueError(
                f"images: expected one whose answers of {part.layer!r} are known, or {len(start)} "
                f"as are looked for, got {len(part.images)}"
            )
    start = asarray(input_of(model, start))
    return _descend(model, start, penalised(target, bounded, alpha_norm), steps, rate)


def _descend(model, start, target, steps, rate) -> Iterator:
    picture = nn.Parameter(start)
    adam, falling = optim.Adam([picture], lr=rate), optim.cosine(rate, steps)
    for k in range(steps):
        adam.lr = falling(k)
        picture.grad = -input_gradient(model, picture.data, target)[1]
        adam.step()
        picture.data[...] = xp.clip(picture.data, -1, 1)
        yield picture.data.copy()


def alike(model: nn.Module, wanted: Sequence[Wanted]) -> Objective:
    """−Σ weight·‖Φ(x) − Φ₀‖²/‖Φ₀‖², over all that is wanted of x"""
    known = [_known(model, part) for part in wanted]

    def likeness(model: nn.Module, x: Tensor) -> Tensor:
        total = 0
        answers = activations(model, x, [part.layer for part in wanted])
        for part, answer, (aim, size) in zip(wanted, answers, known, strict=True):
            total = total - part.weight / size * ops.square(part.of(answer) - aim).sum(axis=1)
        return total

    return likeness


def _known(model: nn.Module, part: Wanted) -> tuple:
    """Φ₀ and ‖Φ₀‖²: (N, n), (N,)"""
    positive(weight=part.weight)
    with nn.frozen(model), no_grad():
        x = Tensor(asarray(input_of(model, part.images)))
        aim = part.of(activation(model, x, part.layer)).data
    size = (aim**2).sum(axis=1)
    if not bool((size > 0).all()):
        raise ValueError(f"layer {part.layer!r} answers zeros to a picture: nothing can come back")
    return aim, size
