"""examples/unclip.py: trains its parts once, draws, varies, measures; and what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels
from PIL import Image

from tinydiff import data, training, vision
from tinydiff.unclip import UnCLIP
from tinydiff.unclip.unclip import PARTS

FEW = ("--steps", 2, 3, 4, "--scenes", 24, "--count", 2)
RUN = {"checkpoint.npz", "log.jsonl", "loss.png"}
TRAINED = {*PARTS, *(f"{part}/{name}" for part in PARTS for name in RUN)}
DRAWN = {"drawn.png", "variations.png", "between.png"}


def small():
    """The script with small networks and short sampling."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("unclip")
    image = {"patch": 2, "widths": (8, 8), "depth": 1, "heads": 2}
    text = {"length": module.LONGEST, "width": 8, "depth": 1, "heads": 2}
    module.WIDTH = 8
    module.CLIP = {"embedding": 8, "image": image, "text": text}
    module.PRIOR = {"width": 8, "depth": 1, "heads": 2}
    module.DECODER = {**module.DECODER, "base_channels": 8, "norm_groups": 4}
    module.SAMPLING, module.AMONG, module.WEIGHTS = 2, 3, (0.0, 1.0)
    return module


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of the runs, and what training them said."""
    out = tmp_path_factory.mktemp("unclip")
    ended = call(small(), "a large red heart", *FEW, "--out", out)
    assert ended.status == 0, ended.err
    return out / "unclip", ended


def test_trains_three_parts_and_draws(learned):
    folder, ended = learned
    assert everything_in(folder) == TRAINED | DRAWN
    assert "Not all of it is trained in" in ended.out
    found = re.findall(r"^(\w+): (\d+) scenes, [\d,]+ parameters$", ended.out, re.MULTILINE)
    assert [part for part, _ in found] == list(PARTS)
    assert [count for _, count in found[1:]] == ["12", "12"] and 16 <= int(found[0][1]) <= 24
    for part, steps in zip(PARTS, (2, 3, 4), strict=True):
        assert len(training.read_log(folder / part / "log.jsonl")) == steps
    unclip = UnCLIP.load(folder, steps=2)
    expected = unclip.draw(["a large red heart"] * 2, np.random.default_rng(0))
    table = pixels(folder / "drawn.png")
    np.testing.assert_array_equal(table[-102:-6:3, -204:-108:3], expected[0])
    np.testing.assert_array_equal(table[-102:-6:3, -102:-6:3], expected[1])


def test_scenes_of_one_large_thing_and_of_two_of_which_pairs_are_held_out():
    module = small()
    pictures, captions = module.scenes("train", 10, module.ONE)
    assert pictures.shape == (10, 32, 32, 3) and {*captions} <= {f"a {n}" for n in module.NAMES}
    known, new = (module.scenes("test", 60, module.TWO, new)[1] for new in (False, True))
    assert len(known) + len(new) == 60 and 4 <= len(new) <= 24
    for captions, held in ((known, False), (new, True)):
        assert {data.held_out(caption, seed=module.PAIRS) for caption in captions} == {held}


def test_the_second_use_trains_nothing(learned):
    folder, _ = learned
    logs = [(folder / part / "log.jsonl").read_bytes() for part in PARTS]
    ended = call(small(), "A large white cross.", "--count", 3, "--out", folder.parent)
    assert ended.status == 0, ended.err
    assert ended.out == f"See what is drawn in {folder}.\n"
    assert [(folder / part / "log.jsonl").read_bytes() for part in PARTS] == logs


def test_what_is_not_there_is_trained_what_is_there_stays(learned, here):
    folder, _ = learned
    for part in ("clip", "prior"):
        (here / "unclip" / part).mkdir(parents=True)
        for name in ("checkpoint.npz", "log.jsonl"):
            (here / "unclip" / part / name).write_bytes((folder / part / name).read_bytes())
    ended = call(small(), "a large red heart", *FEW, "--out", ".")
    assert ended.status == 0, ended.err
    assert "decoder: 12 scenes" in ended.out and "prior:" not in ended.out
    new, old = (
        training.checkpoint.load(place / "decoder" / "checkpoint.npz")["model"]
        for place in (here / "unclip", folder)
    )
    assert all(np.array_equal(new[name], old[name]) for name in old)


def test_pictures_of_ones_own(learned, here):
    folder, _ = learned
    (here / "unclip").symlink_to(folder)
    for name, colour in (("a.png", (200, 30, 30)), ("b.png", (30, 60, 200))):
        picture = np.full((40, 50, 3), 128, np.uint8)
        picture[10:30, 15:35] = colour
        Image.fromarray(picture).save(here / name)
    before = (folder / "drawn.png").read_bytes()
    for names, rows in ((("a.png",), 1), (("a.png", "b.png"), 2)):
        (folder / "between.png").unlink(missing_ok=True)
        ended = call(small(), "--image", *names, "--count", 2, "--out", ".")
        assert ended.status == 0, ended.err
        table = pixels(folder / "variations.png")
        assert table.shape[0] == 102 * rows + 6 + 21
        own = np.stack([data.read_square(here / name, 32) for name in names])
        np.testing.assert_array_equal(table[27 + 0 : 27 + 96 : 3, 6:102:3], own[0])
        assert (folder / "between.png").exists() == (rows == 2)
    assert pixels(folder / "between.png").shape == (108, 4 * 102 + 6, 3)
    assert (folder / "drawn.png").read_bytes() == before


def test_measures_all_three(learned, here):
    (here / "unclip").symlink_to(learned[0])
    module, seen = small(), []

    def keeping(images, captions, world):
        seen.append((images, captions))
        return vision.what_is_so(images, captions, world)

    module.vision = type("Watched", (), {"what_is_so": staticmethod(keeping)})
    ended = call(module, "--evaluate", "--pictures", 20, "--count", 1, "--out", ".")
    assert ended.status == 0, ended.err
    found = re.findall(r"^(.*): (?:colours )?[\d.]+%", ended.out, re.MULTILINE)
    assert found == [
        "the caption found among 3, one thing or two",
        "the picture found among 3, one thing or two",
        "the caption found among 3, pairs never seen",
        "the picture found among 3, pairs never seen",
        "named, one of 30",
        "named, one of 5, pictures of another kind",
        *("pictures", "their variations", "pictures of captions", "the same without the prior"),
    ]
    assert "pictures: colours 100.0%" in ended.out
    (real, captions), *drawn = seen
    np.testing.assert_array_equal(real, module.scenes("test", 20, module.ONE)[0])
    for pictures, same in drawn:
        assert same == captions and not np.array_equal(pictures, real)


REFUSED = {
    "a:large:red:sircle": "'a large red sircle': expected \"a large COLOUR SHAPE\"",
    "a:red:circle": "expected \"a large COLOUR SHAPE\", as 'a large red circle'",
    "a:large:red:circle --image text.png": "captions and --image are two things to do",
    "--steps 1 2": "expected 3 arguments",
    "--steps 1 2 0": "--steps: '0' is not a whole number from 1 on",
    "--image none.png": "none.png",
    "--image text.png": "text.png is not a picture that can be read",
    "--guidance nan": "--guidance: 'nan' is not",
    "--pictures 0": "--pictures: '0' is not",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_trains_nothing(command, message, here):
    (here / "text.png").write_text("hello")
    error = call(small(), *(word.replace(":", " ") for word in command.split())).error()
    assert error.startswith("unclip.py: ")
    assert message in error
    assert everything_in(here) == {"text.png"}


def test_other_settings_are_another_run(learned, here):
    folder = here / "unclip" / "clip"
    folder.mkdir(parents=True)
    state = training.checkpoint.load(learned[0] / "clip" / "checkpoint.npz")
    training.checkpoint.save(folder / "checkpoint.npz", state | {"step": 1})
    error = call(small(), *FEW, "--seed", 1, "--out", ".").error()
    assert "seed is 1, was 0" in error


def test_help_tells_what_it_writes():
    script = [sys.executable, str(EXAMPLES / "unclip.py"), "--help"]
    ended = subprocess.run(script, capture_output=True, text=True)
    assert ended.returncode == 0
    for name in (*DRAWN, *RUN - {"log.jsonl"}, *PARTS):
        assert name.removesuffix(".npz") in ended.stdout
