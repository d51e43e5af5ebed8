"""examples/localise.py: trains, transfers, measures, draws, looks at a picture; what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels
from PIL import Image

from tinydiff import data, images, training, vision

FILES = {"loss.png", "boxes.png", "log.jsonl", "checkpoint.npz"}
SCRIPT = [sys.executable, str(EXAMPLES / "localise.py")]
SIDE = 32
FEW = ("--steps", 4, "--scenes", 20, "--test-scenes", 9)


def small_localise():
    """examples/localise.py with small pictures, a small network and quick learning."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("localise")
    module.SIDE, module.BATCH = SIDE, 8
    module.NETWORK = {"widths": (16, 32), "blocks": (1, 1), "patch": 4}
    module.LR = 5e-3
    return module


@pytest.fixture(scope="module")
def localiser(tmp_path_factory):
    """The folder of a localiser that has hardly learned, and what training it said."""
    out = tmp_path_factory.mktemp("localiser")
    ended = call(small_localise(), *FEW, "--out", out)
    assert ended.status == 0, ended.err
    return out / "localise-giou", ended


def test_writes_what_it_promises(localiser):
    folder, ended = localiser
    assert everything_in(folder) == FILES
    assert [r["step"] for r in training.read_log(folder / "log.jsonl")] == [1, 2, 3, 4]
    assert pixels(folder / "loss.png").shape[:2] == (480, 840)
    for name in ("loss.png", "boxes.png"):
        assert name in ended.out


def test_shows_the_truth_above_what_was_found(localiser):
    table = pixels(localiser[0] / "boxes.png")
    test = data.shapes("test", 8, side=SIDE, objects=1)
    truths = vision.objects_of(test.labels, test.boxes)
    found = vision.Localiser.load(localiser[0] / "checkpoint.npz")(test.images)
    drawn = [
        vision.draw_objects(picture, objects, test.classes, scale=2)
        for row in (truths, found)
        for picture, objects in zip(test.images, row, strict=True)
    ]
    expected = images.grid(np.stack(drawn), 8)
    height, width = expected.shape[:2]
    np.testing.assert_array_equal(table[-height:, -width:], expected)


def test_measures_the_averaged_weights_on_the_test_split(localiser):
    folder, ended = localiser
    test = data.shapes("test", 9, side=SIDE, objects=1)
    found = vision.Localiser.load(folder / "checkpoint.npz")(test.images)
    scores = vision.localiser_scores(found, vision.objects_of(test.labels, test.boxes))
    assert f"9 test scenes: {scores.classes:.2%} of the classes right" in ended.out
    assert f"mean IoU {scores.iou:.3f}; " in ended.out
    assert f"IoU at least 1/2: {scores.both:.2%}" in ended.out


def test_the_same_command_again_goes_on(localiser):
    folder, ended = localiser
    again = call(small_localise(), *FEW, "--out", folder.parent)
    assert again.status == 0, again.err
    assert re.search("mean IoU.*", again.out)[0] == re.search("mean IoU.*", ended.out)[0]
    other = call(small_localise(), *FEW, "--out", folder.parent, "--seed", 1).error()
    assert "seed is 1, was 0" in other


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "fine-tuned"])
def test_transfer_from_a_classifier(frozen, here):
    taught = call(small_localise(), *FEW, "--box-loss", "none")
    assert taught.status == 0, taught.err
    assert "of the classes right" in taught.out and "IoU" not in taught.out
    source = here / "runs" / "localise-none" / "checkpoint.npz"
    options = ["--box-loss", "l2", "--backbone", source, *["--frozen"] * frozen]
    ended = call(small_localise(), *FEW, *options)
    assert ended.status == 0, ended.err
    folder = here / "runs" / f"localise-l2-{'frozen' if frozen else 'finetuned'}"
    assert everything_in(folder) == FILES
    before = training.trained_weights(training.load(source))
    after = training.trained_weights(training.load(folder / "checkpoint.npz"))
    for name in before:
        same = np.array_equal(before[name], after[name])
        assert same == (frozen and name.startswith("backbone.")), name
    total, learned = re.search(r"([\d,]+) parameters, ([\d,]+) of them", ended.out).groups()
    assert (total == learned) is not frozen


def test_looks_at_a_picture(localiser, here):
    (here / "run").mkdir()
    copy = here / "run" / "checkpoint.npz"
    copy.write_bytes((localiser[0] / "checkpoint.npz").read_bytes())
    scene = data.shapes("test", 1, side=SIDE, objects=1)
    wide = np.concatenate([scene.images[0]] * 2, axis=1)
    images.save_png(here / "my.png", wide, scale=3)
    ended = call(small_localise(), "--checkpoint", copy, "--image", "my.png")
    assert ended.status == 0, ended.err
    assert everything_in(here / "run") == {"checkpoint.npz", "my-located.png"}
    assert pixels(here / "run" / "my-located.png").shape == (4 * SIDE // 2, 4 * SIDE, 3)
    picture = data.read_picture(here / "my.png", SIDE, multiple=8)
    (found,) = vision.Localiser.load(copy)(picture[None])
    assert ended.out.startswith(f"{scene.classes[found.labels[0]]} {found.scores[0]:.0%} at [")
    assert "in 32 × 16 pixels" in ended.out


REFUSED = {
    "--steps 0": "--steps: '0' is not a whole number from 1 on",
    "--scenes 31": "--scenes: '31' is not a whole number from 32 on",
    "--test-scenes x": "--test-scenes: 'x' is not",
    "--seed -1": "--seed: '-1' is not",
    "--box-loss l3": "--box-loss: invalid choice: 'l3'",
    "--frozen": "--frozen needs a --backbone",
    "--image good.png": "--image and --checkpoint belong together",
    "--checkpoint RUN/checkpoint.npz": "--image and --checkpoint belong together",
    "--checkpoint none.npz --image good.png": "none.npz does not exist: train with examples/local",
    "--checkpoint text.npz --image good.png": "text.npz: the file is not a tinydiff checkpoint",
    "--checkpoint RUN/checkpoint.npz --image none.png": "none.png: No such file or directory",
    "--checkpoint RUN/checkpoint.npz --image text.npz": "text.npz is not a picture that can be",
    "--test-scenes 1 --backbone none.npz": "none.npz: No such file or directory",
    "--test-scenes 1 --backbone text.npz": "text.npz: the file is not a tinydiff checkpoint",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, localiser, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    (here / "text.npz").write_text("hello")
    before, run = everything_in(here), everything_in(localiser[0])
    module = load("localise")
    error = call(module, *command.replace("RUN", str(localiser[0])).split()).error()
    assert error.startswith("localise.py: ")
    assert message in error
    assert everything_in(here) == before and everything_in(localiser[0]) == run


def test_another_network_is_no_localiser_and_no_backbone(runs, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    checkpoint = runs.labelled / "checkpoint.npz"
    error = call(small_localise(), "--checkpoint", checkpoint, "--image", "good.png").error()
    assert "a checkpoint, but not a localiser's" in error
    error = call(small_localise(), "--test-scenes", 1, "--backbone", checkpoint).error()
    assert "a checkpoint, but of no network with such a backbone" in error


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for name in ("runs/NAME/", "loss.png", "boxes.png", "log", "checkpoint", "-located.png"):
        assert name in ended.stdout
    for default in ("giou", "8000", "20000", "2000"):
        assert default in ended.stdout
