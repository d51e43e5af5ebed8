"""Activation maps: what does each channel of a layer answer to a picture?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinydiff.backend import to_numpy
from tinydiff.nn import Module, frozen
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor
from tinydiff.visualize.gradient import batches, input_of
from tinydiff.visualize.target import activation


def activation_maps(model: Module, images: np.ndarray, layer: str) -> np.ndarray:
    """The layer's answers to pictures (N, H, W, C), uint8 or floats in [−1, 1].

    (N, h, w, channels) for a layer that answers with maps, (N, d) for one that answers features.
    Raises ValueError, and lists the layers there are, if it is none of them.
    """
    return np.concatenate([to_numpy(answer) for answer in answers(model, images, layer)])


def answers(model: Module, images: np.ndarray, layer: str) -> Iterator:
    """The same, a batch at a time, as arrays of the backend."""
    for x in batches(input_of(model, images)):
        with frozen(model), no_grad():
            answer = activation(model, Tensor(x), layer).data
        yield answer
