"""examples/segment_instances.py: trains masks on a detector, measures, draws; what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import DETECT_SIDE, EXAMPLES, call, everything_in, load, pixels
from PIL import Image

import tinydiff as td
from tinydiff import data, images, training, vision

FILES = {"loss.png", "instances.png", "log.jsonl", "checkpoint.npz"}
SCRIPT = [sys.executable, str(EXAMPLES / "segment_instances.py")]
FEW = ("--steps", 4, "--scenes", 16, "--test-scenes", 6, "--score", 0.02)


def small_masks():
    """examples/segment_instances.py with small pictures and a small head."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("segment_instances")
    module.SIDE = DETECT_SIDE
    module.HEAD = {"width": 8, "blocks": 1}
    return module


@pytest.fixture(scope="module")
def masks(detector, tmp_path_factory):
    """The folder of masks that have hardly been learned, and what training them said."""
    out = tmp_path_factory.mktemp("masks")
    before = (detector[0] / "checkpoint.npz").read_bytes()
    ended = call(small_masks(), *FEW, "--detector", detector[0] / "checkpoint.npz", "--out", out)
    assert ended.status == 0, ended.err
    assert (detector[0] / "checkpoint.npz").read_bytes() == before
    return out / "segment-instances", ended


def test_writes_what_it_promises(masks):
    folder, ended = masks
    assert everything_in(folder) == FILES
    assert [r["step"] for r in training.read_log(folder / "log.jsonl")] == [1, 2, 3, 4]
    assert pixels(folder / "loss.png").shape[:2] == (480, 840)
    for name in ("loss.png", "instances.png"):
        assert name in ended.out


def test_shows_the_true_masks_above_those_found(masks):
    table, step = pixels(masks[0] / "instances.png"), 2 * DETECT_SIDE + 2
    assert table.shape == (2 * step + 2, 6 * step + 2, 3)
    test = data.shapes("test", 6, side=DETECT_SIDE)
    truths = vision.objects_of(test.labels, test.boxes, test.instances)
    found = vision.MaskFinder.load(masks[0] / "checkpoint.npz")(test.images)
    for row, several in enumerate((truths, found)):
        for i, objects in enumerate(several):
            cell = table[2 + row * step : (row + 1) * step, 2 + i * step : (i + 1) * step]
            expected = vision.draw_objects(test.images[i], objects, test.classes, scale=2)
            assert np.abs(cell.astype(int) - expected).mean() < 0.5


def test_measures_the_averaged_weights_on_the_test_split(masks):
    folder, ended = masks
    test = data.shapes("test", 6, side=DETECT_SIDE)
    found = vision.MaskFinder.load(folder / "checkpoint.npz")(test.images)
    truths = vision.objects_of(test.labels, test.boxes, test.instances)
    for by in ("boxes", "masks"):
        coco = vision.coco_average_precision(found, truths, classes=10, by=by)
        said = re.search(rf"{by}: AP (.*), AP50 (.*), AP75 (.*)", ended.out).groups()
        assert [float(s) for s in said] == pytest.approx([coco.ap, coco.ap50, coco.ap75], abs=2e-3)
    assert f"6 test scenes, {sum(map(len, truths))} objects" in ended.out


def test_the_detector_stays_as_it_was(detector, masks):
    before = training.trained_weights(td.load(detector[0] / "checkpoint.npz"))
    after = td.load(masks[0] / "checkpoint.npz")["model"]
    for name, weights in before.items():
        np.testing.assert_array_equal(after[f"detector.{name}"], weights)


def test_the_same_command_again_goes_on(detector, masks):
    folder, ended = masks
    again = ("--detector", detector[0] / "checkpoint.npz", "--out", folder.parent)
    second = call(small_masks(), *FEW, *again)
    assert second.status == 0, second.err
    assert re.search("masks: .*", second.out)[0] == re.search("masks: .*", ended.out)[0]
    other = call(small_masks(), *FEW, *again, "--seed", 1).error()
    assert "seed is 1, was 0" in other


def test_finds_masks_in_a_picture(masks, here):
    copy = here / "run" / "checkpoint.npz"
    copy.parent.mkdir()
    copy.write_bytes((masks[0] / "checkpoint.npz").read_bytes())
    scene = data.shapes("test", 1, side=DETECT_SIDE)
    images.save_png(here / "my.png", np.concatenate([scene.images[0]] * 2, axis=1), scale=3)
    arguments = ("--checkpoint", copy, "--image", "my.png", "--score", 0.02)
    ended = call(small_masks(), *arguments)
    assert ended.status == 0, ended.err
    assert everything_in(here / "run") == {"checkpoint.npz", "my-masks.png"}
    picture = data.read_picture(here / "my.png", DETECT_SIDE, multiple=8)
    (found,) = vision.MaskFinder.load(copy)(picture[None])
    drawn = pixels(here / "run" / "my-masks.png")
    expected = vision.draw_objects(picture, found.at_least(0.02), scene.classes, scale=3)
    assert np.abs(drawn.astype(int) - expected).mean() < 0.5
    assert ended.out.splitlines()[-1].startswith(f"{len(found)} objects in 64 × 32 pixels.  See")
    nothing = call(small_masks(), *arguments[:4], "--score", 1)
    assert nothing.out.startswith("0 objects in 64 × 32 pixels")


REFUSED = {
    "--steps 0": "--steps: '0' is not a whole number from 1 on",
    "--scenes 7": "--scenes: '7' is not",
    "--test-scenes x": "--test-scenes: 'x' is not",
    "--score nan": "--score: 'nan' is not",
    "": "runs/detect/checkpoint.npz does not exist: train with examples/detect.py first",
    "--detector text.npz": "text.npz: the file is not a tinydiff checkpoint",
    "--detector MASKS": "a checkpoint, but not a detector's",
    "--image good.png": "--image and --checkpoint belong together",
    "--checkpoint MASKS": "--image and --checkpoint belong together",
    "--checkpoint none.npz --image good.png": "none.npz does not exist: train with examples/segm",
    "--checkpoint DETECTOR --image good.png": "a checkpoint, but not a mask detector's",
    "--checkpoint MASKS --image none.png": "none.png: No such file or directory",
    "--checkpoint MASKS --image text.npz": "text.npz is not a picture that can be",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, detector, masks, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    (here / "text.npz").write_text("hello")
    before, run = everything_in(here), everything_in(masks[0])
    for word, folder in (("DETECTOR", detector[0]), ("MASKS", masks[0])):
        command = command.replace(word, str(folder / "checkpoint.npz"))
    error = call(small_masks(), *command.split()).error()
    assert error.startswith("segment_instances.py: ")
    assert message in error
    assert everything_in(here) == before and everything_in(masks[0]) == run


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for name in ("runs/NAME/", "loss.png", "instances.png", "log", "checkpoint", "-masks.png"):
        assert name in ended.stdout
    for default in ("5000", "4000", "500", "0.3", "runs/detect/checkpoint.npz"):
        assert default in ended.stdout
