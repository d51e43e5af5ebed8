"""Style: which channels answer together, wherever that is; textures, and pictures painted in them.

    G_cd = mean over places of a_c·a_d                              a: what a layer answers, (…, C)

    min over x of  ‖Φ(x) − Φ(p)‖²/‖Φ(p)‖² + β·mean over l of ‖G_l(x) − G_l(s)‖²/‖G_l(s)‖²
                   + λ_TV·TV(x) + λ_α·‖x‖_α

p is the content: a deep layer answers to x as to it, so that the same things are at the same
places.  s is the style: the same edges, colours and patterns meet as often, at any place.  Without
p what comes out is s's texture.

Sources: L. Gatys et al., "Texture Synthesis Using Convolutional Neural Networks", 2015, section 3;
L. Gatys et al., "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tinydiff import ops
from tinydiff.nn import Module
from tinydiff.tensor import Tensor
from tinydiff.visualize.ascent import noise
from tinydiff.visualize.gradient import input_of
from tinydiff.visualize.inversion import Wanted, descend


def gram(answer: Tensor) -> Tensor:
    """G as a vector: (N, …, C) → (N, C²)"""
    places = answer.reshape(len(answer), -1, answer.shape[-1])
    product = ops.matmul(places.transpose((0, 2, 1)), places) / places.shape[1]
    return product.reshape(len(answer), -1)


def texture(
    model: Module,
    style: np.ndarray,
    layers: Sequence[str],
    *,
    steps: int = 400,
    rate: float = 0.1,
    smooth: float = 0.03,
    bounded: float = 1e-3,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """Yields, after each step, pictures of the textures of others, arrays of the backend.

    style   those others, (N, H, W, C), uint8 or floats in [−1, 1]
    layers  whose Gram matrices are to be as there: the deeper they are, the larger the patterns

    steps … rng, and what is raised, are as in `invert`.
    """
    start = noise(input_of(model, style).shape, rng=rng)
    settings = {"steps": steps, "rate": rate, "smooth": smooth, "bounded": bounded}
    return descend(model, start, _in_style(style, layers, 1.0), **settings)


def stylise(
    model: Module,
    content: np.ndarray,
    style: np.ndarray,
    *,
    kept: str,
    layers: Sequence[str],
    weight: float = 10.0,
    steps: int = 400,
    rate: float = 0.1,
    smooth: float = 0.1,
    bounded: float = 1e-3,
) -> Iterator:
    """Yields, after each step, the content in the style of other pictures, beginning as it is.

    content  (N, H, W, C), uint8 or floats in [−1, 1]
    style    as many, or one for all, of any size
    kept     the layer whose answers to the content are kept
    layers   whose Gram matrices are the style
    weight   β, of the style

    steps … bounded, and what is raised, are as in `invert`.
    """
    wanted = [Wanted(content, kept), *_in_style(style, layers, weight)]
    settings = {"steps": steps, "rate": rate, "smooth": smooth, "bounded": bounded}
    return descend(model, content, wanted, **settings)


def _in_style(style: np.ndarray, layers: Sequence[str], weight: float) -> list[Wanted]:
    if not layers:
        raise ValueError(
            "layers are empty: expected one or more, whose Gram matrices are the style"
        )
    return [Wanted(style, layer, gram, weight / len(layers)) for layer in layers]
