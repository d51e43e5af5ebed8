"""The grammar, sentence by sentence."""

import numpy as np
import pytest

from tinydiff.data.captions import Thing, count, describe

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
