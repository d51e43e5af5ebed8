"""Scenes of one thing or two, for learning pictures from sentences, without the pairs held out."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinydiff.data.captions import turned_round
from tinydiff.data.dataset import Dataset
from tinydiff.data.held_out import held_out
from tinydiff.data.shapes import shapes
from tinydiff.data.world import World


def told_scenes(
    count: int, *, side: int, world: World, pairs: int, turned: float, seed: int = 0
) -> Dataset:
    """``count`` scenes to learn from, each sentence a class of pictures.

    side    of the pictures, in pixels
    world   what there is to be seen
    pairs   the seed of those things that are never seen together (`held_out`)
    turned  the share of sentences with "right of" or "below" that are told the other way round
            (`captions.turned_round`); ``seed`` draws which

    Raises ValueError as `shapes` and `turned_round` do.
    """
    keep = lambda caption: not held_out(caption, seed=pairs)
    scenes = shapes("train", count, side=side, objects=(1, 2), world=world, keep=keep)
    said = turned_round(scenes.captions, turned, np.random.default_rng(seed))
    return dataclasses.replace(scenes, captions=tuple(said)).by_caption()
