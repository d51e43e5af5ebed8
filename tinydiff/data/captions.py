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

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

COVERED = 0.05
DISTINCT = 1.5
SIZES = ("small", "large")
REVERSE: Mapping[str, str] = MappingProxyType(
    {
        "left of": "right of",
        "right of": "left of",
        "above": "below",
        "below": "above",
        "in front of": "behind",
        "behind": "in front of",
        "and": "and",
    }
)
"""Of each relation of one thing to another, that of the other to the one."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
_RELATED = re.compile(rf" ({'|'.join(REVERSE)}) (?=an? )")


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
        said = relation(boxes[:2], covered)
        said = REVERSE[said] if first else said
        return tell([things[first], things[1 - first]], said)
    if len(things) <= 2:
        return tell(things)
    if len(things) <= 4:
        return count(f"{thing.colour} {thing.shape}" for thing in things)
    return count(thing.shape for thing in things)


def tell(things: Sequence[Thing], relation: str = "") -> str:
    """The sentence about one thing, two alike, or two and how the first lies to the second."""
    if relation:
        return f"{_article(things[0])} {relation} {_article(things[1])}"
    return count(map(str, things))


def parse(caption: str) -> tuple[tuple[Thing, ...], str]:
    """Back from a sentence about one or two things to what `tell` was told.

    The relation is "" of one thing, and of two that are alike.  Raises ValueError for a sentence
    about something else.
    """
    number, _, names = caption.partition(" ")
    if number == "two":
        name = names.removesuffix("s")
        return (_thing(name.removesuffix("e") if name.endswith("sse") else name),) * 2, ""
    first, *others = _RELATED.split(caption)
    things = (first, *others[1:])
    if len(things) > 2 or not all(re.match("an? ", thing) for thing in things):
        raise ValueError(f"caption: {caption!r} is not about one thing or two")
    return tuple(_thing(thing.partition(" ")[2]) for thing in things), "".join(others[:1])


def canonical(caption: str) -> str:
    """Of the two sentences that say the same of two things, the first by alphabet: "a red circle
    above a blue square" is "a blue square below a red circle".

    Raises ValueError for a sentence that is not about one or two things.
    """
    things, said = parse(caption)
    ways = [tell(things, said), tell(things[::-1], REVERSE[said])] if said else [caption]
    return min(ways)


def turned_round(captions: Iterable[str], share: float, rng: np.random.Generator) -> list[str]:
    """The same, but of those that say "right of" or "below" a share the other way round: "a blue
    square below a red circle" becomes "a red circle above a blue square".

    Which thing is to be where hangs on three words together, and none of them alone says a thing
    about it: such a rule, a parity, is found only after long.  Where what is named first is mostly
    left or above, that is soon learned, and the rest as the exception to it.  Raises ValueError
    for sentences about more than two things, and a share that is none.

    Source: E. Cornacchia and E. Mossel, "A Mathematical Model for Curriculum Learning for
    Parities", 2023.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a number in [0, 1], got {share}")
    return [
        tell(things[::-1], REVERSE[said])
        if said in ("right of", "below") and rng.random() < share
        else caption
        for caption, (things, said) in ((caption, parse(caption)) for caption in captions)
    ]


def relation(boxes: np.ndarray, covered: float = 0.0) -> str:
    """How the first of two things lies to the second, as told above.

    boxes (2, 4): of what is seen.  covered: how much of the first is hidden by the second.
    """
    if covered > COVERED:
        return "behind"
    corners = boxes.reshape(2, 2, 2)
    apart = corners.mean(axis=1)[1] - corners.mean(axis=1)[0]
    gap = corners[:, 0].max(axis=0) - corners[:, 1].min(axis=0)
    for axis, words in enumerate((("left of", "right of"), ("above", "below"))):
        if gap[axis] >= 0 and abs(apart[axis]) >= DISTINCT * abs(apart[1 - axis]):
            return words[0] if apart[axis] > 0 else words[1]
    return "and"


def vocabulary(shapes: Iterable[str], colours: Iterable[str] = ()) -> tuple[str, ...]:
    """All words, and the comma, of captions of things of these shapes and colours."""
    shapes = list(shapes)
    relations = (word for phrase in REVERSE for word in phrase.split())
    plurals = (_number(shape, 2).split()[1] for shape in shapes)
    words = ["a", "an", *_NUMBERS[2:], *relations, ",", *SIZES, *colours, *shapes, *plurals]
    return tuple(dict.fromkeys(words))


def count(names: Iterable[str]) -> str:
    """As "two stars, a red cross and an arrow": each name once, in the order they came."""
    names = list(names)
    groups = [_number(name, names.count(name)) for name in dict.fromkeys(names)]
    return ", ".join(groups[:-1]) + " and " * (len(groups) > 1) + "".join(groups[-1:])


def _thing(name: str) -> Thing:
    words = name.split()
    if not (len(words) == 2 or (len(words) == 3 and words[0] in SIZES)):
        raise ValueError(f"caption: {name!r} is not [size] colour shape")
    return Thing(*["", *words][-3:])


def _number(name: str, number: int) -> str:
    if number == 1:
        return _article(name)
    return f"{_NUMBERS[number]} {name}{'es' if name.endswith('ss') else 's'}"


def _article(name: object) -> str:
    return f"{'an' if str(name)[0] in 'aeiou8' else 'a'} {name}"
