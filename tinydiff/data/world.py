"""What there is in scenes: shapes, colours, sizes and relations, and the sentences about them.

`shapes` draws scenes of a world.  A smaller one is learned sooner, and all that can be said of one
thing or two in it can be listed: SIMPLE is such a world, of which there are 3,540 sentences.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tinydiff.data.captions import REVERSE, Thing, parse, tell
from tinydiff.data.colours import COLOURS
from tinydiff.data.outlines import OUTLINES

SIZES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"small": (0.16, 0.28), "": (0.34, 0.44), "large": (0.5, 0.64)}
)
"""By the word for it, the least and the largest diameter, of the picture's side."""


@dataclass(frozen=True)
class World:
    """Names, of each kind some of those there are:

    shapes     in `outlines.OUTLINES`
    colours    in `colours.COLOURS`
    sizes      in SIZES
    relations  in `captions.REVERSE`: how two things may lie
    patterned  whether grounds and things may have a pattern
    cut        whether the border may cut off a part of a thing, or another thing hide it
    turned     whether things may be turned, or stand upright

    Raises ValueError for names that are unknown, twice there, or none.
    """

    shapes: tuple[str, ...] = tuple(OUTLINES)
    colours: tuple[str, ...] = tuple(COLOURS)
    sizes: tuple[str, ...] = tuple(SIZES)
    relations: tuple[str, ...] = tuple(REVERSE)
    patterned: bool = True
    cut: bool = True
    turned: bool = True

    def __post_init__(self) -> None:
        known = {"shapes": OUTLINES, "colours": COLOURS, "sizes": SIZES, "relations": REVERSE}
        for field, names in known.items():
            chosen = tuple(getattr(self, field))
            object.__setattr__(self, field, chosen)
            if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= names.keys():
                raise ValueError(f"{field}: expected some of {', '.join(names)}, got {chosen}")

    def things(self) -> list[Thing]:
        """All that a thing can be."""
        return [Thing(*names) for names in itertools.product(self.sizes, self.colours, self.shapes)]

    def captions(self) -> list[str]:
        """All sentences about one thing or two."""
        things = self.things()
        pairs = itertools.product(itertools.permutations(things, 2), self.relations)
        return [
            *(tell([thing]) for thing in things),
            *(tell([thing, thing]) for thing in things),
            *(tell(pair, relation) for pair, relation in pairs),
        ]

    def allows(self, caption: str) -> bool:
        """Is the sentence, if it tells how two things lie, of one of the relations?"""
        try:
            _, relation = parse(caption)
        except ValueError:  # of more than two
            return True
        return relation in ("", *self.relations)


SIMPLE = World(
    shapes=("circle", "square", "triangle", "cross", "heart"),
    colours=("red", "yellow", "green", "blue", "purple", "white"),
    sizes=("",),
    relations=("left of", "right of", "above", "below"),
    patterned=False,
    cut=False,
    turned=False,
)
