"""Filters: the weights of a convolution, each a small picture of what it answers to most."""

from __future__ import annotations

import numpy as np

from tinydiff.backend import to_numpy
from tinydiff.nn import Conv2d, Module
from tinydiff.visualize.target import layer_named


def filters(model: Module, layer: str | None = None) -> np.ndarray:
    """The filters of a convolution, (O, kh, kw, C), signed: one for each channel it answers.

    layer  its path; None is the first convolution of the model, whose C are the picture's colours
    Raises ValueError for a layer that does not exist or is no convolution.
    """
    if layer is None:
        layer, *_ = convolutions(model)
    conv = layer_named(model, layer)
    if not isinstance(conv, Conv2d):
        raise ValueError(f"layer {layer!r} is {type(conv).__name__}, expected a Conv2d")
    return np.array(to_numpy(conv.weight.data).transpose(3, 0, 1, 2))


def convolutions(model: Module) -> list[str]:
    """The paths of all convolutions, in the order of the model; ValueError if it has none."""
    paths = [path for path, module in model.named_modules() if isinstance(module, Conv2d)]
    if not paths:
        raise ValueError(f"model: {type(model).__name__} has no convolution")
    return paths
