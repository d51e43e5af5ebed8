"""Reading plain scenes: right of clean ones, strict with those in which something is wrong."""

import numpy as np
import pytest

from tinydiff.data import SIMPLE, World, shapes
from tinydiff.data.captions import Thing, parse
from tinydiff.vision import Reader, what_is_so

SIDE, COUNT = 32, 150


@pytest.fixture(scope="module")
def scenes():
    return shapes("test", COUNT, side=SIDE, objects=(1, 2), world=SIMPLE)


def test_clean_scenes_are_as_their_captions_say(scenes):
    told = what_is_so(scenes.images, scenes.captions, SIMPLE)
    assert told.colours.all()
    assert told.things.mean() >= 0.99
    assert told.relations.mean() >= 0.99


def test_boxes_are_those_of_the_scene(scenes):
    """Matched by name; soft edges make them one pixel uncertain."""
    reader = Reader(SIMPLE)
    for scene in (scenes[i] for i in range(30)):
        seen, names = reader(scene.image), [scenes.classes[label] for label in scene.labels]
        truth = dict(zip(names, scene.boxes, strict=True))
        if len(truth) == len(scene.labels):
            for thing, box in zip(seen.things, seen.boxes, strict=True):
                assert np.abs(truth[thing.shape] - box).max() <= 1


def test_all_ten_shapes_and_nine_colours_can_be_told():
    world = World(sizes=("", "large"), patterned=False, cut=False)
    scenes = shapes("test", 60, side=48, objects=1, world=world)
    reader, right = Reader(world), []
    for image, caption in zip(scenes.images, scenes.captions, strict=True):
        (thing,), _ = parse(caption)
        (seen,) = reader(image).things
        right.append((seen.colour, seen.shape) == (thing.colour, thing.shape))
    assert np.mean(right) >= 0.95


def test_captions_of_other_scenes_are_not_so(scenes):
    """Each caption beside the next picture, by what differs between the two sentences."""
    told = what_is_so(scenes.images, scenes.captions[1:] + scenes.captions[:1], SIMPLE)
    for i in range(COUNT):
        wanted, here = (parse(scenes.captions[k])[0] for k in ((i + 1) % COUNT, i))
        assert told.colours[i] == (colours(wanted) == colours(here)), i
        assert not told.things[i] or sorted(map(str, wanted)) == sorted(map(str, here)), i
        assert told.relations[i] <= told.things[i], i


def colours(things):
    return sorted(thing.colour for thing in things)


RED, BLUE, GROUND = (230, 40, 40), (40, 80, 200), (120, 120, 110)


def scene(*painted):
    """Squares and discs of 12 pixels: (shape, colour, left, top)."""
    image = np.full((SIDE, SIDE, 3), GROUND, np.uint8)
    rows, columns = np.indices((12, 12)) - 5.5
    for shape, colour, left, top in painted:
        inside = np.ones((12, 12), bool) if shape == "square" else rows**2 + columns**2 <= 36
        image[top : top + 12, left : left + 12][inside] = colour
    return image


SQUARE_LEFT_OF_CIRCLE = scene(("square", RED, 2, 10), ("circle", BLUE, 18, 10))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red square left of a blue circle", (1, 1, 1, 1)),
        ("a blue circle right of a red square", (1, 1, 1, 1)),
        ("a blue circle left of a red square", (1, 1, 1, 0)),
        ("a red square above a blue circle", (1, 1, 1, 0)),
        ("a blue square left of a red circle", (1, 1, 0, 0)),
        ("a red square left of a red circle", (0, 1, 0, 0)),
        ("a red square left of a blue square", (1, 0, 0, 0)),
        ("a small red square left of a large blue circle", (1, 1, 1, 1)),
        ("a small red square above a large blue circle", (1, 1, 1, 0)),
        ("a red square", (0, 0, 0, 0)),
        ("two red squares", (0, 0, 0, 0)),
    ],
)
def test_what_is_so_in_one_picture(caption, expected):
    told = what_is_so(SQUARE_LEFT_OF_CIRCLE[None], [caption], SIMPLE)
    found = tuple(int(x[0]) for x in (told.colours, told.shapes, told.things, told.relations))
    assert found == expected


def test_how_often_and_in_words():
    said = ["a red square left of a blue circle", "a red square above a blue circle"]
    told = what_is_so(np.stack([SQUARE_LEFT_OF_CIRCLE] * 2), said, SIMPLE)
    assert {name: found.value for name, found in told.shares().items()} == {
        **dict.fromkeys(("colours", "shapes", "things"), 1.0),
        "relations": 0.5,
    }
    error = f"{told.shares()['relations'].error:.1%}"
    assert str(told).startswith("colours 100.0% ± ")
    assert str(told).endswith(f", relations 50.0% ± {error}")


def test_two_alike_and_one_too_many():
    twins = scene(("square", RED, 2, 2), ("square", RED, 18, 18))
    assert what_is_so(twins[None], ["two red squares"], SIMPLE).relations.all()
    assert not what_is_so(twins[None], ["a red square"], SIMPLE).things.any()
    for said, expected in (("above", True), ("below", True), ("left of", False)):
        stacked = scene(("square", RED, 10, 2), ("square", RED, 10, 18))
        told = what_is_so(stacked[None], [f"a red square {said} a red square"], SIMPLE)
        assert told.relations.tolist() == [expected]
    three = scene(("square", RED, 1, 1), ("circle", BLUE, 18, 1), ("circle", BLUE, 10, 18))
    said = ["a red square left of a blue circle"]
    assert not what_is_so(three[None], said, SIMPLE).colours.any()


def test_things_that_touch_are_told_apart_by_colour():
    touching = scene(("square", RED, 4, 10), ("circle", BLUE, 16, 10))
    told = what_is_so(touching[None], ["a red square left of a blue circle"], SIMPLE)
    assert told.relations.all()


def test_what_is_no_shape_has_no_name(rng):
    image = scene()
    image[10:14, 4:28] = RED  # 24 pixels long and 4 high: none of the simple world's
    (thing,) = Reader(SIMPLE)(image).things
    assert thing == Thing("", "red", "")
    assert Reader(World(shapes=("bar", "circle")))(scene()).things == ()
    noise = Reader(SIMPLE)(rng.integers(0, 256, (16, 16, 3), np.uint8))
    assert noise.boxes.shape == (len(noise.things), 4)


def test_noise_of_a_sampler_does_not_matter(scenes, rng):
    """Errors of a few grey levels, as generated pictures have them."""
    noisy = scenes.images[:50] + rng.normal(0, 6, scenes.images[:50].shape)
    noisy = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    told = what_is_so(noisy, scenes.captions[:50], SIMPLE)
    assert told.things.mean() >= 0.95


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Reader(SIMPLE)(scene()[None]), r"image: expected uint8 \(H, W, 3\)"),
        (lambda: Reader(SIMPLE)(scene() / 255), "image: expected uint8.*float64"),
        (lambda: what_is_so(scene()[None], [], SIMPLE), "captions: expected 1, one a picture"),
        (lambda: what_is_so(scene()[None], ["three stars"], SIMPLE), "caption: 'three stars'"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
