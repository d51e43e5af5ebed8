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
from tinydiff.checks import at_least_one
from tinydiff.nn import Module
from tinydiff.visualize.activations import answers
from tinydiff.visualize.gradient import gradient
from tinydiff.visualize.receptive_field import ReceptiveField, receptive_field
from tinydiff.visualize.target import Unit, checked_channel


@dataclass(frozen=True, eq=False)
class Patches:
    """The patches that a channel answers to most, the strongest first, from as many pictures.

    patches   (n, height, width, C), of the pictures' dtype, middle grey outside of them
    numbers   (n,), what the neurons answered
    pictures  (n,), from which of the images each comes
    places    (n, 2), row and column of the neuron in its map
    field     what its neurons see
    layer, channel  whose patches they are
    """

    patches: np.ndarray
    numbers: np.ndarray
    pictures: np.ndarray
    places: np.ndarray
    field: ReceptiveField
    layer: str
    channel: int


def top_patches(
    model: Module,
    images: np.ndarray,
    layer: str,
    channels: Sequence[int] | None = None,
    *,
    count: int = 9,
) -> list[Patches]:
    """For each of the channels the best place in each picture, and of those the best ``count``.

    images    uint8 or floats in [−1, 1], (N, H, W, C)
    layer     the path of one that answers with maps; raises what `receptive_field` does
    channels  None for all
    """
    at_least_one(count=count)
    field = receptive_field(model, layer, images)
    numbers, places = [], []
    for answer in answers(model, images, layer):
        if channels is None:
            channels = range(answer.shape[3])
        columns = [checked_channel(layer, channel, answer.shape[3]) for channel in channels]
        maps = to_numpy(answer)[..., columns]
        flat = maps.reshape(len(maps), -1, len(columns))
        numbers.append(flat.max(axis=1))
        places.append(np.stack(np.unravel_index(flat.argmax(axis=1), maps.shape[1:3]), axis=2))
    numbers, places = np.concatenate(numbers), np.concatenate(places)
    found = []
    for c, channel in enumerate(channels):
        best = np.argsort(-numbers[:, c], kind="stable")[:count]
        where = places[best, c]
        patches = [field.crop(images[i], place) for i, place in zip(best, where, strict=True)]
        found.append(
            Patches(np.stack(patches), numbers[best, c], best, where, field, layer, channel)
        )
    return found


def patch_gradients(
    model: Module, images: np.ndarray, found: Patches, *, rule: str = "plain"
) -> np.ndarray:
    """What in each patch speaks for the neuron that answered, (n, height, width, C), signed.

    images  those that ``found`` was found in
    rule    as of `gradient`, whose result this is, cut out like the patches
    """
    ways = []
    for i, place in zip(found.pictures, found.places.tolist(), strict=True):
        neuron = Unit(found.layer, found.channel, tuple(place))
        (way,) = gradient(model, images[i : i + 1], neuron, rule=rule)
        ways.append(found.field.crop(way, place))
    return np.stack(ways)
