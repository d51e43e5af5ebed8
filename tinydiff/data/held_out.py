"""Which sentences a network is not to learn from, so that it can be asked something new.

Held out are pairs of things: "a red circle" and "a blue square" are seen with others, but never
with each other, however they lie.  Which pairs is decided by a checksum of their names, and so is
the same for every data set and on every machine.
"""

from __future__ import annotations

import zlib

from tinydiff.data.captions import parse
from tinydiff.data.world import World


def held_out(caption: str, *, one_in: int = 5, seed: int = 0) -> bool:
    """Is this a sentence about two different things that are held out, one pair ``one_in`` many?

    Raises ValueError for a sentence about more than two things.
    """
    if one_in < 1:
        raise ValueError(f"one_in must be at least 1, got {one_in}")
    things, relation = parse(caption)
    pair = f"{seed}: {' + '.join(sorted(map(str, things)))}"
    return bool(relation) and zlib.crc32(pair.encode()) % one_in == 0


def pairs_of(world: World, *, one_in: int = 5, seed: int = 0) -> tuple[list[str], list[str]]:
    """All sentences of a world about two different things: those to learn from, and those that are
    `held_out`."""
    known, new = [], []
    for caption in world.captions():
        if parse(caption)[1]:
            (new if held_out(caption, one_in=one_in, seed=seed) else known).append(caption)
    return known, new
