"""The parts together."""

import numpy as np
import pytest
from small_parts import SIDE, decoder, matcher, prior, unclip

import tinydiff as td
from tinydiff.backend import to_numpy
from tinydiff.diffusion import slerp
from tinydiff.training import checkpoint
from tinydiff.unclip import UnCLIP

CAPTIONS = ["a red circle", "two blue"]
SETTINGS = {"sampler": "ddim", "steps": 3, "guidance": 2.0}


def pictures(n=2):
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3)).astype(np.uint8)


def rng():
    return np.random.default_rng(7)


def test_captions_become_vectors_vectors_others_and_those_pictures():
    parts, chance = unclip(), rng()
    drawn = parts.draw(CAPTIONS, rng())
    z = parts.prior.draw(parts.matcher.of_captions(CAPTIONS), guidance=1.0, steps=3, rng=chance)
    np.testing.assert_array_equal(drawn, parts.decoder.draw(2, z, rng=chance, **SETTINGS))
    assert drawn.shape == (2, SIDE, SIDE, 3) and drawn.dtype == np.uint8
    other = parts.draw(CAPTIONS[::-1], rng())
    assert not np.array_equal(drawn, other)


def test_the_usual_generator_draws_if_there_is_no_other():
    parts = unclip()
    td.seed(7)
    drawn = parts.draw(CAPTIONS)
    td.seed(7)
    again = parts.draw(CAPTIONS)
    np.testing.assert_array_equal(again, drawn)
    more = parts.variations(drawn, 2)
    assert more.shape == (4, SIDE, SIDE, 3) and not np.array_equal(parts.draw(CAPTIONS), drawn)


def test_variations_are_pictures_of_the_same_vector():
    parts, x = unclip(), pictures()
    drawn = parts.variations(x, 3, rng())
    z = np.repeat(parts.matcher.of_images(x), 3, axis=0)
    np.testing.assert_array_equal(drawn, parts.decoder.draw(6, z, rng=rng(), **SETTINGS))
    assert len({picture.tobytes() for picture in drawn}) == 6


def test_between_two_pictures_the_noise_stays_and_the_vector_turns():
    parts, (a, b) = unclip(), (pictures(4)[:2], pictures(4)[2:])
    first, half, last = parts.between(a, b, (0.0, 0.5, 1.0), 7)
    ends = parts.matcher.of_images(a), parts.matcher.of_images(b)
    np.testing.assert_array_equal(first, parts.decode(ends[0], rng()))
    np.testing.assert_array_equal(last, parts.decode(ends[1], rng()))
    np.testing.assert_array_equal(half, parts.decode(to_numpy(slerp(*ends, 0.5)), rng()))


def save(folder, name, part, **settings):
    state = {"settings": {**part.settings, "steps": 1, **settings}, "step": 1, "ema": None}
    (folder / name).mkdir(exist_ok=True)
    path = folder / name / "checkpoint.npz"
    checkpoint.save(path, {**state, "model": part.model.state_dict()})


def test_comes_back_from_its_folder(tmp_path):
    clip = {"clip": {**matcher().settings, "steps": 1}}
    parts = (("clip", matcher(), {}), ("prior", prior(), clip), ("decoder", decoder(), clip))
    for name, part, settings in parts:
        with pytest.raises(FileNotFoundError, match=r"train with examples/unclip\.py first"):
            UnCLIP.load(tmp_path)
        save(tmp_path, name, part, **settings)
    again = UnCLIP.load(tmp_path, steps=3)
    np.testing.assert_array_equal(again.draw(CAPTIONS, rng()), unclip().draw(CAPTIONS, rng()))


@pytest.mark.parametrize("stale", ["prior", "decoder"])
def test_refuses_a_part_that_was_trained_with_another_clip(stale, tmp_path):
    save(tmp_path, "clip", matcher())
    for name, part in (("prior", prior()), ("decoder", decoder())):
        clip = {**matcher().settings, "steps": 1, "seed": 1} if name == stale else {}
        save(tmp_path, name, part, clip=clip or {**matcher().settings, "steps": 1})
    with pytest.raises(ValueError, match=f"{stale}.checkpoint.npz was trained with another CLIP"):
        UnCLIP.load(tmp_path)
