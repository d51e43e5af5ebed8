"""Preferred patches: what a neuron of each channel would like to see, as large as all it can see.

    the receptive field of the neuron in the middle of the map, cut out of the picture that `ascend`
    makes for it

Source: D. Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinydiff.checks import at_least_one
from tinydiff.nn import Module
from tinydiff.visualize.activations import activation_maps
from tinydiff.visualize.ascent import ascend, noise, one_each
from tinydiff.visualize.film import last
from tinydiff.visualize.receptive_field import receptive_field
from tinydiff.visualize.regularise import blur, clip, decay, every
from tinydiff.visualize.target import Unit


def strongest_channels(model: Module, picture: np.ndarray, layer: str, count: int) -> list[int]:
    """The channels of a layer whose answers to a picture differ most from place to place.

    picture  uint8 or floats in [−1, 1], (1, H, W, C)
    layer    the path of one that answers with maps; a convolution's answers count from 0 on

    At most ``count``, the strongest first.
    Raises TypeError or ValueError for a count below 1, several pictures, or a layer of features.
    """
    at_least_one(count=count)
    maps = np.maximum(activation_maps(model, picture, layer), 0)
    if len(maps) != 1 or maps.ndim != 4:
        raise ValueError(f"layer {layer!r} answers {maps.shape}, expected maps (1, h, w, channels)")
    return np.argsort(-maps[0].std(axis=(0, 1)), kind="stable")[:count].tolist()


def preferred_patches(
    model: Module,
    images: np.ndarray,
    layer: str,
    channels: Sequence[int],
    *,
    steps: int = 40,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """What the neuron in the middle of each of these channels likes best, uint8 (n, h, w, C).

    images  pictures that the model takes (N, H, W, C): of such a size are those that are made
    layer   the path of one that answers with maps
    steps   of gradient ascent from grey noise, with decay, and a blur in every fourth
    rng     draws the noise; default: the process's own

    Raises what `receptive_field`, `one_each` and `ascend` do.
    """
    field = receptive_field(model, layer, images)
    height, width = activation_maps(model, images[:1], layer).shape[1:3]
    place = height // 2, width // 2
    target = one_each([Unit(layer, channel, place) for channel in channels])
    start = noise((len(channels), *images.shape[1:]), rng=rng)
    after = [every(4, blur(0.6)), decay(0.05), clip]
    found = last(ascend(model, start, target, steps=steps, after=after), layer)
    return np.stack([field.crop(x, place) for x in found])
