"""examples/text_to_image.py: trains once, draws sentences, measures; and what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels

from tinydiff import data, images, training, vision
from tinydiff.data import held_out
from tinydiff.data.captions import parse
from tinydiff.diffusion import Pipeline

SCRIPT = [sys.executable, str(EXAMPLES / "text_to_image.py")]
FEW = ("--steps", 3, "--scenes", 12, "--count", 2)
TRAINED = {"log.jsonl", "checkpoint.npz", "loss.png", "drawn.png"}


def small():
    """The script with a small network and short sampling."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("text_to_image")
    text = {"length": module.LONGEST, "width": 8, "depth": 1, "heads": 2}
    module.NETWORK = {**module.NETWORK, "base_channels": 8, "norm_groups": 4, "text": text}
    module.SAMPLER, module.SCALES = {"sampler": "ddim", "steps": 3}, (1.0, 1e3)
    return module


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of a run, and what it said."""
    out = tmp_path_factory.mktemp("text")
    ended = call(small(), "two red hearts", *FEW, "--out", out)
    assert ended.status == 0, ended.err
    return out / "text-to-image", ended


def test_trains_and_draws_what_it_is_asked_for(learned):
    folder, ended = learned
    assert everything_in(folder) == TRAINED
    assert "There is no model in" in ended.out and "it is trained now" in ended.out
    assert re.search(r"^12 scenes, \d+ sentences, [\d,]+ parameters$", ended.out, re.MULTILINE)
    assert [r["step"] for r in training.read_log(folder / "log.jsonl")] == [1, 2, 3]
    pipeline = Pipeline.load(folder / "checkpoint.npz")
    settings = {"sampler": "ddim", "steps": 3, "guidance": 2.0}
    drawn = pipeline.draw(2, ["two red hearts"] * 2, rng=np.random.default_rng(0), **settings)
    expected = images.labelled_grid(drawn, ["", ""], ["two red hearts"], scale=3)
    np.testing.assert_array_equal(pixels(folder / "drawn.png"), expected)


def test_the_second_use_trains_nothing(learned):
    folder, _ = learned
    log = (folder / "log.jsonl").read_bytes()
    module = small()
    # Without scenes, and anything to learn from.
    module.data = type("NoScenes", (), {"Tokenizer": data.Tokenizer})
    ended = call(module, "a white cross", "--count", 3, "--out", folder.parent)
    assert ended.status == 0, ended.err
    assert ended.out == f"See drawn.png in {folder}.\n"
    assert (folder / "log.jsonl").read_bytes() == log
    assert pixels(folder / "drawn.png").shape[1] > 3 * 3 * 32


def test_a_half_trained_run_is_gone_on_with(here):
    class Tired(RuntimeError):
        pass

    module, train = small(), training.train

    def two_steps(trainer, steps, folder, **settings):
        for record in train(trainer, steps, folder, **settings, save_every=1):
            yield record
            if record.step == 2:
                raise Tired

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.whole_run, "train", two_steps)
        assert call(module, *FEW, "--out", ".").status != 0
    ended = call(small(), *FEW, "--out", ".")
    assert "is half trained: it is trained on now" in ended.out
    log = training.read_log(here / "text-to-image" / "log.jsonl")
    assert [r["step"] for r in log] == [1, 2, 3]


def test_measures_sentences_that_are_held_out(learned, here):
    checkpoint = learned[0] / "checkpoint.npz"
    module, seen, scales = small(), [], []
    draw = module.draw
    module.draw = lambda pipeline, captions, w, seed: (
        scales.append(w) or draw(pipeline, captions, w, seed)
    )

    def keeping(images, captions, world):
        seen.append((images, captions))
        return vision.what_is_so(images, captions, world)

    module.vision = type("Watched", (), {"what_is_so": staticmethod(keeping)})
    options = ("--evaluate", "--pictures", 2, "--count", 1, "--out", ".")
    ended = call(module, "--checkpoint", checkpoint, *options)
    assert ended.status == 0, ended.err
    files = {"drawn.png", "held-out.png", "guidance.png"}
    assert everything_in(here / "text-to-image") == files
    found = re.findall(r"^(.*): colours .* shapes .* things .* relations", ended.out, re.M)
    new = ["new sentences, w = 1", "new sentences, w = 1000"]
    assert found == ["real scenes", *new, "known pairs, w = 2"]
    assert scales == [2.0, 1.0, 1e3, 2.0, 2.0]
    (_, real), (once, captions), (again, same), (_, known) = seen
    assert captions == same and not np.array_equal(once, again)
    assert "real scenes: colours 100.0%" in ended.out
    assert all(held_out(caption, seed=module.PAIRS) for caption in captions)
    assert not any(held_out(caption, seed=module.PAIRS) for caption in known)
    assert all(parse(caption)[1] for caption in known)
    assert [len(c) for c in (real, captions, known)] == [2, 2, 2]


def test_nothing_that_is_held_out_is_learned_from(here, monkeypatch):
    """Of the scenes of the recipe, as far as they are drawn here."""
    module, found = small(), []

    def watched(scenes):
        found.extend(scenes.captions)
        raise ValueError("seen enough")

    monkeypatch.setattr(data.Scenes, "by_caption", watched)
    assert "seen enough" in call(module, "--scenes", 150, "--out", ".").error()
    pairs = [caption for caption in found if parse(caption)[1]]
    assert len(pairs) > 30
    assert not any(held_out(caption, seed=module.PAIRS) for caption in pairs)
    assert held_out(module.SHOWN[0], seed=module.PAIRS)


REFUSED = {
    "a:red:sircle": "'sircle' in 'a red sircle' is not a known word; near it: circle",
    "a:red:circle:in:front:of:a:blue:square": "has 9 words, expected 8 or fewer",
    "a:ring": "'ring' in 'a ring' is not a known word; near it: triangle",
    "a:red:zebu": "'zebu' in 'a red zebu' is not a known word; known: a above below blue",
    ":": "has no words",
    "a:red:circle --steps 0": "--steps: '0' is not a whole number from 1 on",
    "a:red:circle --count x": "--count: 'x' is not",
    "a:red:circle --guidance inf": "--guidance: 'inf' is not",
    "--pictures 0": "--pictures: '0' is not",
    "--checkpoint none.npz": "none.npz does not exist: train with examples/text_to_image.py first",
    "--checkpoint text.npz": "text.npz: the file is not a tinydiff checkpoint",
    "--checkpoint RUN a:red:ring": "'ring' in 'a red ring' is not a known word",
    "--checkpoint LABELS a:red:circle": "the model was told no captions when it learned",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_trains_nothing(command, message, learned, runs, here):
    (here / "text.npz").write_text("hello")
    known = {"RUN": learned[0], "LABELS": runs.labelled}
    words = [str(known[w] / "checkpoint.npz") if w in known else w for w in command.split()]
    error = call(small(), *(word.replace(":", " ") for word in words)).error()
    assert error.startswith("text_to_image.py: ")
    assert message in error
    assert everything_in(here) == {"text.npz"}


def test_a_run_of_another_kind_in_its_folder_is_named(runs, here):
    (here / "text-to-image").symlink_to(runs.labelled)
    error = call(small(), "a red circle", "--out", ".").error()
    assert "text_to_image.py: text-to-image: the model was told no captions" in error


def test_other_settings_are_another_run(learned, here):
    folder = here / "text-to-image"
    folder.mkdir()
    state = training.checkpoint.load(learned[0] / "checkpoint.npz")
    training.checkpoint.save(folder / "checkpoint.npz", state | {"step": 2})
    error = call(small(), *FEW, "--seed", 1, "--out", ".").error()
    assert "seed is 1, was 0" in error


def test_help_tells_the_grammar_and_what_it_writes():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    world = data.SIMPLE
    for word in (*world.colours, *world.shapes, *world.relations):
        assert word in ended.stdout
    for name in ("drawn.png", "held-out.png", "guidance.png", "loss.png", "checkpoint"):
        assert name in ended.stdout
