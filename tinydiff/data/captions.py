"""A sentence about each scene, which is true of it.

    caption  = thing | number things | thing relation thing
             | group {", " group} " and " group
    thing    = article [size] colour shape
    group    = (article | number) [colour] shape
    relation = "left of" | "right of" | "above" | "below" | "in front of" | "behind" | "and"
    size     = "small" | "large"

All that is in a scene is counted.  One or two things are described, and of two it is said how they
lie: one in front of the other where it hides more than COVERED of it; else beside or above it where
their boxes have no column, or no row, in common, and their centres are DISTINCT times farther apart
along that axis than along the other.  It is "and" where neither is so, and "two small red stars"
where both are alike.  Three or four things are named by colour and shape, more by shape alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

COVERED = 0.05
DISTINCT = 1.5
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


@dataclass(frozen=True)
class Thing:
    """What can be said of a thing: the word for its size, or "", its colour and its shape."""

    size: str
    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.size} {self.colour} {self.shape}".lstrip()


def describe(
    things: Sequence[Thing], boxes: np.ndarray, covered: float, rng: np.random.Generator
) -> str:
    """The caption of a scene of ``things``, painted in this order.

    boxes (n, 4): of what is seen.  covered: how much of the first is hidden by others, in [0, 1].
    rng decides which of two things is named first.
    """
    first = rng.integers(2)
    if len(things) == 2 and things[0] != things[1]:
        relation = _relation(boxes, covered)[first]
        return " ".join([_article(things[first]), relation, _article(things[1 - first])])
    if len(things) <= 2:
        return count(map(str, things))
    if len(things) <= 4:
        return count(f"{thing.colour} {thing.shape}" for thing in things)
    return count(thing.shape for thing in things)


def count(names: Iterable[str]) -> str:
    """As "two stars, a red cross and an arrow": each name once, in the order they came."""
    names = list(names)
    groups = [_number(name, names.count(name)) for name in dict.fromkeys(names)]
    return ", ".join(groups[:-1]) + " and " * (len(groups) > 1) + "".join(groups[-1:])


def _relation(boxes: np.ndarray, covered: float) -> tuple[str, str]:
    """Of the first thing to the second, and of the second to the first."""
    if covered > COVERED:
        return "behind", "in front of"
    corners = boxes[:2].reshape(2, 2, 2)
    apart = corners.mean(axis=1)[1] - corners.mean(axis=1)[0]
    gap = corners[:, 0].max(axis=0) - corners[:, 1].min(axis=0)
    for axis, words in enumerate((("left of", "right of"), ("above", "below"))):
        if gap[axis] >= 0 and abs(apart[axis]) >= DISTINCT * abs(apart[1 - axis]):
            return words if apart[axis] > 0 else words[::-1]
    return "and", "and"


def _number(name: str, number: int) -> str:
    if number == 1:
        return _article(name)
    return f"{_NUMBERS[number]} {name}{'es' if name.endswith('ss') else 's'}"


def _article(name: object) -> str:
    return f"{'an' if str(name)[0] in 'aeiou8' else 'a'} {name}"
