"""Activation maps: what does each channel of a layer answer to a picture?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinydiff.backend import asarray, to_numpy
from tinydiff.nn import Module, frozen, watching
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor
from tinydiff.visualize.filters import convolutions
from tinydiff.visualize.gradient import batches, input_of
from tinydiff.visualize.target import activation


def activation_maps(model: Module, images: np.ndarray, layer: str) -> np.ndarray:
    """The layer's answers to pictures (N, H, W, C), uint8 or floats in [−1, 1].

    (N, h, w, channels) for a layer that answers with maps, (N, d) for one that answers features.
    Raises ValueError, and lists the layers there are, if it is none of them.
    """
    return np.concatenate([to_numpy(answer) for answer in answers(model, images, layer)])


def answer_shapes(model: Module, images: np.ndarray) -> dict[str, tuple[int, ...]]:
    """By path, in the order in which they answer, the shape of each layer's answer to a picture.

    (h, w, channels) for maps, (d,) for features; "" is the model.  A layer that is called twice
    stands in the place of its last answer; those that answer no Tensor are left out.
    """
    paths, shapes = {module: path for path, module in model.named_modules()}, {}

    def note(module: Module, answer) -> None:
        if isinstance(answer, Tensor) and module in paths:
            shapes.pop(paths[module], None)
            shapes[paths[module]] = answer.shape[1:]

    with watching(note), frozen(model), no_grad():
        model(Tensor(asarray(input_of(model, images[:1]))))
    return shapes


def last_of_each_size(model: Module, images: np.ndarray) -> list[str]:
    """For each size of map that convolutions answer to pictures like these, the last layer to
    answer so, and so with norm and activation done; in the order of the network.

    Raises ValueError for a model without convolutions.
    """
    shapes = answer_shapes(model, images)
    sizes = {shapes[layer][:2] for layer in convolutions(model)}
    found = {shape[:2]: path for path, shape in shapes.items() if shape[2:] and shape[:2] in sizes}
    return list(found.values())


def answers(model: Module, images: np.ndarray, layer: str) -> Iterator:
    """`activation_maps`, a batch at a time, as arrays of the backend."""
    for x in batches(input_of(model, images)):
        with frozen(model), no_grad():
            answer = activation(model, Tensor(x), layer).data
        yield answer
