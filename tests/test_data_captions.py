"""The grammar, sentence by sentence."""

import numpy as np
import pytest

from tinydiff.data import SIMPLE, World, shapes
from tinydiff.data.captions import Thing, canonical, count, describe, parse, turned_round

SMALL_RED_STAR = Thing("small", "red", "star")
ORANGE_CROSS = Thing("", "orange", "cross")


def of_two(first_box, second_box, covered=0.0, things=(SMALL_RED_STAR, ORANGE_CROSS)):
    """Both captions that there are, the one that begins with the first thing in front."""
    boxes = np.float32([first_box, second_box])
    said = {describe(things, boxes, covered, np.random.default_rng(seed)) for seed in range(20)}
    return sorted(said, key=lambda caption: not caption.startswith(f"a {things[0]}"))


def test_one():
    box = np.float32([[0, 0, 5, 5]])
    rng = np.random.default_rng(0)
    assert describe([SMALL_RED_STAR], box, 0, rng) == "a small red star"
    assert describe([ORANGE_CROSS], box, 0, rng) == "an orange cross"


@pytest.mark.parametrize(
    ("first", "second", "relation", "reverse"),
    [
        ((0, 0, 5, 5), (5, 0, 9, 7), "left of", "right of"),
        ((20, 3, 25, 9), (5, 0, 9, 7), "right of", "left of"),
        ((0, 0, 5, 5), (1, 6, 9, 9), "above", "below"),
        ((0, 20, 5, 25), (1, 6, 9, 9), "below", "above"),
        ((0, 0, 5, 5), (6, 6, 11, 11), "and", "and"),  # as far along both axes
        ((0, 0, 9, 9), (4, 1, 13, 8), "and", "and"),  # the boxes share columns
        ((0, 0, 9, 9), (3, 3, 6, 6), "and", "and"),  # one centre: in the hole of a ring
    ],
)
def test_two(first, second, relation, reverse):
    assert of_two(first, second) == [
        f"a small red star {relation} an orange cross",
        f"an orange cross {reverse} a small red star",
    ]


def test_what_covers_is_in_front_wherever_it_lies():
    assert of_two((0, 0, 5, 5), (5, 0, 9, 7), covered=0.06) == [
        "a small red star behind an orange cross",
        "an orange cross in front of a small red star",
    ]
    assert "left of" in of_two((0, 0, 5, 5), (5, 0, 9, 7), covered=0.04)[0]


def test_two_that_are_alike_are_counted():
    twins = (ORANGE_CROSS, ORANGE_CROSS)
    assert of_two((0, 0, 5, 5), (6, 0, 9, 9), things=twins) == ["two orange crosses"]


def test_three_and_four_are_named_by_colour_and_more_by_shape():
    boxes, rng = np.zeros((8, 4), np.float32), np.random.default_rng(0)
    things = [SMALL_RED_STAR, ORANGE_CROSS, Thing("large", "red", "star")]
    assert describe(things, boxes, 0, rng) == "two red stars and an orange cross"
    things += [Thing("", "blue", "bar")]
    assert describe(things, boxes, 0, rng) == "two red stars, an orange cross and a blue bar"
    things += [Thing("", "green", "arrow"), Thing("", "red", "bar")]
    assert describe(things, boxes, 0, rng) == "two stars, a cross, two bars and an arrow"


def test_digits_are_counted_too():
    assert count("8") == "an 8"
    assert count("3883") == "two 3s and two 8s"
    assert count("123") == "a 1, a 2 and a 3"


def test_parsed_it_is_what_was_described():
    box = np.float32([[0, 0, 5, 5]])
    rng = np.random.default_rng(0)
    for thing in (SMALL_RED_STAR, ORANGE_CROSS):
        assert parse(describe([thing], box, 0, rng)) == ((thing,), "")
        assert parse(describe([thing] * 2, box, 0, rng)) == ((thing, thing), "")
    for covered, gap in ((0, 5), (0, 0), (0.1, 0)):
        for caption in of_two((0, 0, 5, 5), (5, gap, 9, gap + 7), covered):
            (first, second), relation = parse(caption)
            assert {first, second} == {SMALL_RED_STAR, ORANGE_CROSS}
            assert caption == f"{'an' if first.colour == 'orange' else 'a'} {first} {relation} " + (
                f"{'an' if second.colour == 'orange' else 'a'} {second}"
            )


def test_what_scenes_say_can_be_parsed():
    scenes = shapes(count=60, objects=(1, 2))
    for caption, labels in zip(scenes.captions, scenes.labels, strict=True):
        things, _ = parse(caption)
        assert sorted(scenes.classes.index(t.shape) for t in things) == sorted(labels[labels >= 0])


@pytest.mark.parametrize(
    "caption",
    [
        "two red stars and a blue bar",
        "a red star, a blue bar and a green ring",
        "a red star above a blue bar above a green ring",
        "a star",
        "a huge red star",
        "red star",
        "three red stars",
        "",
    ],
)
def test_other_sentences_are_not_parsed(caption):
    with pytest.raises(ValueError, match=r"^caption: .* is not "):
        parse(caption)


def test_canonical_is_the_same_for_both_ways_to_say_how_two_things_lie():
    assert canonical("a red circle above a blue square") == "a blue square below a red circle"
    assert canonical("a blue square below a red circle") == "a blue square below a red circle"
    assert canonical("a red circle left of a red circle") == "a red circle left of a red circle"
    for caption in ("a white cross", "two purple hearts"):
        assert canonical(caption) == caption
    world = World(shapes=("ring", "star"), colours=("red", "black"), sizes=("",))
    captions = world.captions()
    assert {canonical(caption) for caption in captions} <= {*captions}
    pairs = [caption for caption in captions if parse(caption)[1]]
    assert 2 * len({canonical(caption) for caption in pairs}) == len(pairs)
    with pytest.raises(ValueError, match="is not about one thing or two"):
        canonical("three red stars")


def test_turned_round_captions_say_the_same():
    """A share of those with "right of" or "below", and no others; which, the generator decides."""
    captions = SIMPLE.captions()
    turned = turned_round(captions, 0.6, np.random.default_rng(0))
    assert [canonical(c) for c in turned] == [canonical(c) for c in captions]
    changed = [c for c, other in zip(captions, turned, strict=True) if c != other]
    assert {parse(c)[1] for c in changed} == {"right of", "below"}
    could = [c for c in captions if parse(c)[1] in ("right of", "below")]
    assert abs(len(changed) / len(could) - 0.6) < 0.05
    assert turned_round(captions, 0, np.random.default_rng(0)) == captions
    every = {parse(c)[1] for c in turned_round(captions, 1, np.random.default_rng(0))}
    assert every == {"", "left of", "above"}
    with pytest.raises(ValueError, match=r"share: expected a number in \[0, 1\], got 2"):
        turned_round(captions, 2, np.random.default_rng(0))
