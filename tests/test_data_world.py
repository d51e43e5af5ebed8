"""Small worlds: only what is in them is drawn and said, and what is held out never."""

import itertools
import zlib

import numpy as np
import pytest

from tinydiff.data import (
    NOTHING,
    SIMPLE,
    World,
    canvas,
    held_out,
    pairs_of,
    shapes,
    told_scenes,
)
from tinydiff.data.captions import canonical, parse, tell


def test_everything_is_the_usual_world():
    by_default, asked = (shapes(count=5, **w) for w in ({}, {"world": World()}))
    np.testing.assert_array_equal(by_default.images, asked.images)


@pytest.fixture(scope="module")
def simple():
    return shapes(count=150, side=32, objects=(1, 2), world=SIMPLE)


def test_only_what_is_in_it_is_drawn_and_said(simple):
    assert set(simple.captions) <= set(SIMPLE.captions())
    things = [thing for caption in simple.captions for thing in parse(caption)[0]]
    assert {t.shape for t in things} == set(SIMPLE.shapes)
    assert {t.colour for t in things} == set(SIMPLE.colours)
    assert {t.size for t in things} == {""}
    assert {parse(caption)[1] for caption in simple.captions} == {"", *SIMPLE.relations}


def test_nothing_is_cut_off_nor_hidden_nor_patterned_nor_turned(simple):
    for scene in simple:
        for label, mask, box in zip(scene.labels, scene.masks, scene.boxes, strict=True):
            if simple.classes[label] == "square":
                assert mask.sum() == np.prod(box[2:] - box[:2])
        x0, y0, x1, y1 = scene.boxes.T
        assert (x0 > 0).all() and (y0 > 0).all() and (x1 < 32).all() and (y1 < 32).all()
        assert len(np.unique(scene.image[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0)) == 1
        for mask in scene.masks:
            core = mask.copy()
            for axis, way in itertools.product((0, 1), (1, -1)):
                core &= np.roll(mask, way, axis)
            # The soft edge of a thing painted later may lie over it.
            colours, counts = np.unique(scene.image[core], axis=0, return_counts=True)
            assert counts.max() > 0.6 * counts.sum(), colours


@pytest.mark.parametrize("cut", [True, False])
def test_nothing_is_in_front_of_anything_unless_it_may_be(cut):
    scenes = shapes(count=60, side=32, objects=2, world=World(sizes=("",), cut=cut))
    relations = {parse(caption)[1] for caption in scenes.captions}
    assert ("behind" in relations or "in front of" in relations) == cut


def test_all_sentences_of_a_world():
    world = World(("circle", "cross"), ("red",), ("", "small"), ("above", "behind"))
    captions = world.captions()
    things = ["red circle", "red cross", "small red circle", "small red cross"]
    expected = [f"a {t}" for t in things]
    expected += ["two red circles", "two red crosses"]
    expected += ["two small red circles", "two small red crosses"]
    pairs = itertools.permutations(things, 2)
    expected += [f"a {a} {r} a {b}" for a, b in pairs for r in ("above", "behind")]
    assert sorted(captions) == sorted(expected)
    assert len(SIMPLE.captions()) == len(set(SIMPLE.captions())) == 30 + 30 + 30 * 29 * 4
    for caption in captions:
        assert tell(*parse(caption)) == caption


def test_more_than_two_things_are_allowed():
    scenes = shapes(count=10, side=64, objects=(3, 5), world=World(relations=("above",)))
    assert ((scenes.labels != NOTHING).sum(axis=1) >= 3).all()


# Held out


def test_no_pair_that_is_held_out_is_in_the_training_set():
    """Neither in the same words, nor in another order, nor with another relation."""
    kept = shapes(count=400, side=32, objects=2, world=SIMPLE, keep=lambda c: not held_out(c))
    seen = {frozenset(parse(caption)[0]) for caption in kept.captions}
    unseen = {frozenset(parse(c)[0]) for c in SIMPLE.captions() if held_out(c)}
    assert len(seen) > 150 and len(unseen) > 50
    assert not seen & unseen


def test_about_a_fifth_of_the_pairs_is_held_out_and_each_thing_is_seen():
    pairs = {frozenset(parse(c)[0]): held_out(c) for c in SIMPLE.captions() if parse(c)[1]}
    assert len(pairs) == 30 * 29 / 2
    assert 0.15 < np.mean(list(pairs.values())) < 0.25
    for thing in SIMPLE.things():
        with_others = [out for pair, out in pairs.items() if thing in pair]
        assert sum(with_others) < 15, thing
    assert not any(held_out(c) for c in SIMPLE.captions() if not parse(c)[1])
    halves = [held_out(c, one_in=2, seed=3) for c in SIMPLE.captions() if parse(c)[1]]
    assert 0.4 < np.mean(halves) < 0.6


def test_all_pairs_are_known_or_new():
    known, new = pairs_of(SIMPLE, seed=3)
    assert [c for c in SIMPLE.captions() if held_out(c, seed=3)] == new
    assert len(known) + len(new) == 30 * 29 * 4 and not {*known} & {*new}
    assert {*known, *new} == {c for c in SIMPLE.captions() if parse(c)[1]}
    assert len(pairs_of(SIMPLE, one_in=2)[1]) > 1.5 * len(new)


def test_it_is_decided_by_the_names_alone():
    caption = "a red circle above a blue square"
    pair = zlib.crc32(b"7: blue square + red circle")
    assert held_out(caption, one_in=pair, seed=7)
    assert not held_out(caption, one_in=pair - 1, seed=7)
    for same in ("a blue square below a red circle", "a red circle left of a blue square"):
        assert held_out(same, one_in=pair, seed=7)


def test_a_scene_that_is_refused_is_drawn_anew_as_often_as_it_takes():
    """One in a hundred may stay here: of 100 scenes that begin, often none."""
    rare = lambda caption: held_out(caption, one_in=40)
    scenes = shapes(count=15, side=32, objects=2, world=SIMPLE, keep=rare)
    assert all(map(rare, scenes.captions))


def test_says_so_where_no_scene_is_allowed(monkeypatch):
    monkeypatch.setattr(canvas, "REFUSALS", 150)
    with pytest.raises(ValueError, match=r"world, keep: of 150 scenes not one .* last was 'a"):
        shapes(count=1, side=32, objects=1, keep=lambda caption: False)
    hidden = World(relations=("behind",), sizes=("",), cut=False)
    with pytest.raises(ValueError, match="world, keep: of 150 scenes not one is allowed"):
        shapes(count=1, side=32, objects=2, world=hidden)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: World(shapes=("circle", "blob")), "shapes: expected some of circle.*'blob'"),
        (lambda: World(colours=()), r"colours: expected some of red.*got \(\)"),
        (lambda: World(sizes=("", "")), "sizes: expected some of small"),
        (lambda: World(relations=("near",)), "relations: expected some of left of.*'near'"),
        (lambda: held_out("a red star", one_in=0), "one_in must be at least 1, got 0"),
        (lambda: held_out("three stars"), "caption: "),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_told_scenes_are_of_known_pairs_and_mostly_say_left_and_above():
    """The scenes of `shapes`, each with its own sentence or the same the other way round."""
    settings = {"side": 32, "world": SIMPLE, "pairs": 3}
    told = told_scenes(300, **settings, turned=1)
    said = [told.classes[label] for label in told.labels]
    assert not any(held_out(caption, seed=3) for caption in said)
    assert {parse(caption)[1] for caption in said} == {"", "left of", "above"}
    keep = lambda caption: not held_out(caption, seed=3)
    scenes = shapes(count=300, side=32, objects=(1, 2), world=SIMPLE, keep=keep)
    np.testing.assert_array_equal(told.images, scenes.images)
    assert [canonical(caption) for caption in said] == [canonical(c) for c in scenes.captions]

    few, same, other = (told_scenes(300, **settings, turned=0.6, seed=seed) for seed in (1, 1, 2))
    relations = [parse(few.classes[label])[1] for label in few.labels]
    assert 0 < relations.count("below") < relations.count("above")
    assert few.classes == same.classes and (few.labels == same.labels).all()
    assert few.classes != other.classes
