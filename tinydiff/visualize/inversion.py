"""Feature inversion: what has a layer kept of a picture?  Another picture that it cannot tell apart

    min over x of  ‖Φ(x) − Φ₀‖²/‖Φ₀‖² + λ_TV·TV(x) + λ_α·‖x‖_α        Φ₀ what the layer said to the
                                                                     picture

by Adam, with a rate that falls to zero as a cosine.  Where the layer has kept a thing, it comes
back; where it has not, the picture is smooth and grey.  Φ is what the layer answers, or, for
style, which of its channels answer together, wherever that is (`gram`): then it is a picture of
the same textures.

Sources: A. Mahendran and A. Vedaldi, "Understanding Deep Image Representations by Inverting Them",
2015; L. Gatys et al., "Texture Synthesis Using Convolutional Neural Networks", 2015, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinydiff import nn, ops, optim
from tinydiff.backend import asarray, xp
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor
from tinydiff.visualize.ascent import noise
from tinydiff.visualize.checks import at_least_one, positive
from tinydiff.visualize.gradient import input_gradient, input_of
from tinydiff.visualize.penalty import alpha_norm, penalised, total_variation
from tinydiff.visualize.target import Objective, activation


def answers_of(answer: Tensor) -> Tensor:
    """Φ as it is: (N, …, C) → (N, n)"""
    return answer.reshape(len(answer), -1)


def gram(answer: Tensor) -> Tensor:
    """G_cd, the mean over places of a_c·a_d: (N, …, C) → (N, C²)"""
    places = answer.reshape(len(answer), -1, answer.shape[-1])
    product = ops.matmul(places.transpose((0, 2, 1)), places) / places.shape[1]
    return product.reshape(len(answer), -1)


def invert(
    model: nn.Module,
    images: np.ndarray,
    layer: str,
    *,
    of: Callable[[Tensor], Tensor] = answers_of,
    steps: int = 200,
    rate: float = 0.05,
    smooth: float = 0.01,
    bounded: float = 0.01,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Yields, after each step, the pictures (N, H, W, C) found so far, arrays of the backend.

    images           whose answers are known, uint8 or floats in [−1, 1]
    layer            that gave them, by its path
    of               `answers_of`, or `gram`
    rate             of Adam in the first step: by how much a pixel changes
    smooth, bounded  λ_TV and λ_α
    rng              draws the grey noise it begins with; default: the process's own

    Raises ValueError for a layer that there is not, or says nothing about these pictures, and what
    `input_gradient` does.
    """
    at_least_one(steps=steps)
    positive(rate=rate)
    known = asarray(input_of(model, images))
    target = penalised(alike(model, known, layer, of), smooth, total_variation)
    start = asarray(noise(known.shape, rng=rng), known.dtype)
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


def alike(model: nn.Module, x, layer: str, of: Callable[[Tensor], Tensor]) -> Objective:
    """−‖Φ(x') − Φ(x)‖²/‖Φ(x)‖², for pictures x' as many as x, arrays of the backend."""
    with nn.frozen(model), no_grad():
        known = of(activation(model, Tensor(x), layer)).data
    size = (known**2).sum(axis=1)
    if not bool((size > 0).all()):
        raise ValueError(f"layer {layer!r} answers zeros to a picture: nothing can come back")

    def likeness(model: nn.Module, x: Tensor) -> Tensor:
        return -ops.square(of(activation(model, x, layer)) - known).sum(axis=1) / size

    return likeness
