"""examples/cascade.py and cascade_ablation.py: three stages trained once, drawn, measured."""

import re

import numpy as np
import pytest
from example_runs import call, everything_in, load, pixels

from tinydiff import images, training
from tinydiff.data import held_out
from tinydiff.data.captions import parse
from tinydiff.diffusion import GaussianDiffusion, Pipeline, SuperResolution, draw_cascade

FEW = ("--steps", 2, "--scenes", 12, "--count", 2)
STAGES = {"16": Pipeline, "32": SuperResolution, "64": SuperResolution, "32-plain": SuperResolution}


def small():
    """The script with small networks and short sampling."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("cascade")
    text = {"length": module.LONGEST, "width": 8, "depth": 1, "heads": 2}
    for stage in module.STAGES.values():
        stage["unet"] |= {"base_channels": 8, "norm_groups": 4}
        if "text" in stage["unet"]:
            stage["unet"]["text"] = text
    module.SAMPLING = tuple({**chosen, "steps": 2} for chosen in module.SAMPLING)
    return module


def small_ablation():
    module = load("cascade_ablation")
    module.SCALES, module.LEVELS, module.SHOWN = (3.0,), (0.2,), 2
    module.FIRST = module.LATER = {"sampler": "ddim", "steps": 2}
    return module


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of a run, and what it said."""
    out = tmp_path_factory.mktemp("cascade")
    ended = call(small(), "two red circles", "a blue cross", *FEW, "--plain", "--out", out)
    assert ended.status == 0, ended.err
    return out / "cascade", ended


def test_trains_the_stages_and_draws_what_it_is_asked_for(learned):
    folder, ended = learned
    each = {
        f"{name}/{file}" for name in STAGES for file in ("checkpoint.npz", "log.jsonl", "loss.png")
    }
    assert everything_in(folder) == {"drawn.png", *STAGES, *each}
    assert len(re.findall(r"[\d,]+ parameters, 12 scenes$", ended.out, re.MULTILINE)) == 4
    stages = [kind.load(folder / name / "checkpoint.npz") for name, kind in STAGES.items()]
    assert [stage.image[0] for stage in stages] == [16, 32, 64, 32]
    assert [stage.tokenizer is None for stage in stages] == [False, False, True, False]
    assert [stage.augmentation for stage in stages[1:]] == [0.25, 0.25, 0.0]
    module = small()
    first, *others = module.SAMPLING
    captions = ["two red circles"] * 2 + ["a blue cross"] * 2
    settings = [{**first, "guidance": 2.0}, *others]
    rng = np.random.default_rng(0)
    drawn = draw_cascade(stages[:3], 4, captions, settings=settings, rng=rng)
    pictures = [drawn[i][k] for k in range(4) for i in range(3)]
    alike = np.stack([p.repeat(64 // len(p), 0).repeat(64 // len(p), 1) for p in pictures])
    columns = ["16 x 16", "32 x 32", "64 x 64"] * 2
    expected = images.labelled_grid(alike, columns, ["two red circles", "a blue cross"])
    np.testing.assert_array_equal(pixels(folder / "drawn.png"), expected)


def test_each_stage_learns_from_scenes_of_its_size(monkeypatch, here):
    seen, loss = [], GaussianDiffusion.training_loss

    def watched(self, model, x0, **settings):
        seen.append((x0.shape, settings["cond"] is None))
        return loss(self, model, x0, **settings)

    monkeypatch.setattr(GaussianDiffusion, "training_loss", watched)
    assert call(small(), "a blue cross", *FEW, "--out", ".").status == 0
    sizes = [((12, side, side, 3), side == 64) for side in (16, 32, 64)]
    assert seen == [size for size in sizes for _ in range(2)]


def test_the_second_use_trains_nothing(learned):
    folder, _ = learned
    module = small()
    module.scenes = None
    few = (*FEW[:-2], "--out", folder.parent)
    ended = call(module, "a blue cross", "--count", 1, *few)
    assert (ended.status, ended.out) == (0, f"See drawn.png in {folder}.\n")
    ended = call(module, "--unconditional", "--count", 1, *few)
    assert (ended.status, ended.out) == (0, f"See unconditional.png in {folder}.\n")
    before = pixels(folder / "unconditional.png")
    ended = call(module, "--unconditional", "--count", 1, *few, "--seed", 1)
    assert ended.status == 0 and not np.array_equal(pixels(folder / "unconditional.png"), before)


def test_other_settings_are_another_run(learned, here):
    ended = call(small(), "a blue cross", *FEW, "--steps", 3, "--out", learned[0].parent)
    assert "holds a run with other settings: steps is 3, was 2" in ended.error()
    state = training.load(learned[0] / "16" / "checkpoint.npz")
    training.save(here / "cascade" / "16" / "checkpoint.npz", {**state, "step": 1})
    ended = call(small(), "a blue cross", *FEW, "--seed", 1, "--out", ".")
    assert "holds a run with other settings: seed is 1, was 0" in ended.error()


def test_measures_sentences_that_are_held_out(learned):
    folder, _ = learned
    module, seen = small(), []
    read = module.vision.what_is_so

    def keeping(pictures, captions, world):
        seen.append((pictures, captions))
        return read(pictures, captions, world)

    module.vision = type("Watched", (), {"what_is_so": staticmethod(keeping)})
    ended = call(module, *FEW, "--evaluate", "--pictures", 3, "--out", folder.parent)
    assert ended.status == 0, ended.err
    assert "real scenes: colours 100.0%" in ended.out
    for side in (32, 64):
        assert f"new sentences, {side} x {side}: colours" in ended.out
    assert re.findall(r"shrunk, and what it was made of: -?\d+\.\d ± \d+\.\d dB", ended.out)
    assert [len(pictures[0]) for pictures, _ in seen] == [64, 32, 64]
    assert all(held_out(caption, seed=module.PAIRS) for caption in seen[1][1])
    assert pixels(folder / "held-out.png").ndim == 3


def test_nothing_that_is_held_out_is_learned_from():
    module = small()
    dataset = module.scenes(150)
    pairs = [caption for caption in dataset.classes if parse(caption)[1]]
    assert len(pairs) > 30 and not any(held_out(caption, seed=module.PAIRS) for caption in pairs)
    assert held_out(module.SHOWN[0], seed=module.PAIRS)


def test_the_ablation(learned, here):
    most = load("cascade").STAGES[32]["augmentation"]
    assert max(load("cascade_ablation").LEVELS) <= most
    folder, _ = learned
    options = ("--cascade", folder, "--count", 2, "--out", ".")
    ended = call(small_ablation(), *options)
    assert ended.status == 0, ended.err
    names = ["guidance", "thresholds", "levels", "noise-drawn", "noise-real"]
    files = {"table.txt", *(f"{name}.png" for name in names)}
    assert everything_in(here / "cascade-ablation") == files
    lines = (here / "cascade-ablation" / "table.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        *(f"{name}, w = 3" for name in ("clamped", "thresholded")),
        *(f"{kind}, {how}" for kind in ("drawn", "real") for how in ("learned without", "0.2")),
    ]
    for line in lines[:2]:
        assert re.search(r"relations \d+.\d% ± .*; values at an end \d+.\d\d%$", line)
    for line in lines[2:]:
        assert re.search(r"; agreement -?\d+.\d ± \d+.\d dB$", line)


REFUSED = {
    "a:red:sircle": "'sircle' in 'a red sircle' is not a known word; near it: circle",
    ":": "has no words",
    "a:red:circle --unconditional": "--unconditional goes without sentences",
    "--unconditional --evaluate": "and without --evaluate",
    "a:red:circle --steps 0": "--steps: '0' is not a whole number from 1 on",
    "--guidance inf": "--guidance: 'inf' is not",
    "--scenes 1": "--scenes: '1' is not",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_trains_nothing(command, message, here):
    error = call(small(), *(word.replace(":", " ") for word in command.split())).error()
    assert message in error and everything_in(here) == set()


def test_the_ablation_needs_a_finished_cascade(learned, here):
    error = call(small_ablation()).error()
    assert "16/checkpoint.npz does not exist: train with examples/cascade.py --plain" in error
    state = training.load(learned[0] / "16" / "checkpoint.npz")
    training.save(here / "runs" / "cascade" / "16" / "checkpoint.npz", {**state, "step": 1})
    assert "is half trained, 1 of 2 steps" in call(small_ablation()).error()


def test_the_ablation_refuses_a_cascade_of_something_else(learned, here):
    for name in STAGES:
        state = training.load(learned[0] / name / "checkpoint.npz")
        settings = {key: value for key, value in state["settings"].items() if key != "world"}
        training.save(here / name / "checkpoint.npz", {**state, "settings": settings})
    error = call(small_ablation(), "--cascade", here, "--out", here / "out").error()
    assert "settings: they lack world; expected world, pairs" in error
