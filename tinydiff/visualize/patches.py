"""Max-activating patches: where in a whole data set does a channel answer most?

Each patch is the receptive field of the neuron that answered: all that it can have seen.

Source: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
figure 2 (the right halves); R. Girshick et al., "Rich feature hierarchies", 2014, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinydiff.backend import to_numpy
from tinydiff.nn import Module
from tinydiff.visualize.activations import answers
from tinydiff.visualize.receptive_field import ReceptiveField, receptive_field
from tinydiff.visualize.target import checked_channel


@dataclass(frozen=True, eq=False)
class Patches:
    """The patches that a channel answers to most, the strongest first, from as many pictures.

    patches   (n, height, width, C), of the pictures' dtype, middle grey outside of them
    numbers   (n,), what the neurons answered
    pictures  (n,), from which of the images each comes
    places    (n, 2), row and column of the neuron in its map
    field     what its neurons see
    """

    patches: np.ndarray
    numbers: np.ndarray
    pictures: np.ndarray
    places: np.ndarray
    field: ReceptiveField


def top_patches(
    model: Module, images: np.ndarray, layer: str, channels: Sequence[int], *, count: int = 9
) -> list[Patches]:
    """For each of the channels the best place in each picture, and of those the best ``count``.

    images  uint8 or floats in [−1, 1], (N, H, W, C)
    layer   the path of one that answers with maps; raises what `receptive_field` does
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    field = receptive_field(model, layer, images)
    numbers, places = [], []
    for answer in answers(model, images, layer):
        columns = [checked_channel(layer, channel, answer.shape[3]) for channel in channels]
        maps = to_numpy(answer)[..., columns]
        flat = maps.reshape(len(maps), -1, len(columns))
        numbers.append(flat.max(axis=1))
        places.append(np.stack(np.unravel_index(flat.argmax(axis=1), maps.shape[1:3]), axis=2))
    numbers, places = np.concatenate(numbers), np.concatenate(places)
    return [_best(images, field, numbers[:, c], places[:, c], count) for c in range(len(channels))]


def _best(images, field: ReceptiveField, numbers, places, count: int) -> Patches:
    best = np.argsort(-numbers, kind="stable")[:count]
    patches = np.stack([field.crop(images[i], places[i]) for i in best])
    return Patches(patches, numbers[best], best, places[best], field)
