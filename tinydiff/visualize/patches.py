"""Max-activating patches: where in a whole data set does a channel answer most?

Each patch is the receptive field of the neuron that answered: all that it can have seen.

Source: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
figure 2 (the right halves); R. Girshick et al., "Rich feature hierarchies", 2014, section 3.1.
"""

from __future__ import annotations

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
    model: Module, images: np.ndarray, layer: str, channel: int, *, count: int = 9
) -> Patches:
    """The best place in each picture, and of those the best ``count``.

    images  uint8 or floats in [−1, 1], (N, H, W, C)
    layer   the path of one that answers with maps; raises what `receptive_field` does
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    field = receptive_field(model, layer, images)
    numbers, places = [], []
    for answer in answers(model, images, layer):
        maps = to_numpy(answer[..., checked_channel(layer, channel, answer.shape[-1])])
        flat = maps.reshape(len(maps), -1)
        places.append(np.stack(np.unravel_index(flat.argmax(axis=1), maps.shape[1:]), axis=1))
        numbers.append(flat.max(axis=1))
    numbers, places = np.concatenate(numbers), np.concatenate(places)
    best = np.argsort(-numbers, kind="stable")[:count]
    patches = np.stack([_crop(images[i], field.of(tuple(places[i]))) for i in best])
    return Patches(patches, numbers[best], best, places[best], field)


def _crop(image: np.ndarray, field: tuple[slice, slice]) -> np.ndarray:
    """What the field sees, grey where it leaves the picture."""
    grey = 128 if image.dtype == np.uint8 else 0
    sizes = [s.stop - s.start for s in field]
    patch = np.full((*sizes, image.shape[2]), grey, image.dtype)
    ends = list(zip(field, image.shape[:2], strict=True))
    inside = tuple(slice(max(s.start, 0), min(s.stop, n)) for s, n in ends)
    where = tuple(
        slice(i.start - s.start, i.stop - s.start) for i, s in zip(inside, field, strict=True)
    )
    patch[where] = image[inside]
    return patch
