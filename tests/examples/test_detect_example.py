"""examples/detect.py: trains, measures, draws, finds things in a picture; and what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import (
    DETECT_FEW,
    DETECT_SIDE,
    EXAMPLES,
    call,
    everything_in,
    pixels,
    small_detect,
)
from PIL import Image

from tinydiff import data, images, training, vision

FILES = {"loss.png", "detections.png", "log.jsonl", "checkpoint.npz"}
SCRIPT = [sys.executable, str(EXAMPLES / "detect.py")]


def test_writes_what_it_promises(detector):
    folder, ended = detector
    assert everything_in(folder) == FILES
    assert [r["step"] for r in training.read_log(folder / "log.jsonl")] == [1, 2, 3, 4]
    assert pixels(folder / "loss.png").shape[:2] == (480, 840)
    for name in ("loss.png", "detections.png"):
        assert name in ended.out


def test_shows_the_truth_above_what_was_found(detector):
    table = pixels(detector[0] / "detections.png")
    step = 2 * DETECT_SIDE + 2
    assert table.shape == (2 * step + 2, 6 * step + 2, 3)
    test = data.shapes("test", 6, side=DETECT_SIDE)
    for i, true in enumerate(vision.objects_of(test.labels, test.boxes)):
        above, below = (
            table[2 + row * step : (row + 1) * step, 2 + i * step : (i + 1) * step]
            for row in range(2)
        )
        expected = vision.draw_objects(test.images[i], true, test.classes, scale=2)
        assert np.array_equal(above, expected)
        assert not np.array_equal(below, expected)


def test_measures_the_averaged_weights_on_the_test_split(detector):
    folder, ended = detector
    test = data.shapes("test", 8, side=DETECT_SIDE)
    found = vision.Finder.load(folder / "checkpoint.npz")(test.images)
    truths = vision.objects_of(test.labels, test.boxes)
    coco = vision.coco_average_precision(found, truths, classes=10)
    said = re.search(r"AP (.*), AP50 (.*), AP75 (.*)", ended.out).groups()
    assert [float(s) for s in said] == pytest.approx([coco.ap, coco.ap50, coco.ap75], abs=6e-4)
    for rule in ("11-point", "all-point"):
        voc = vision.average_precision(found, truths, classes=10, rule=rule)
        assert f"VOC, {rule}: AP50 {np.nanmean(voc):.3f}" in ended.out
    assert f"8 test scenes, {sum(map(len, truths))} objects" in ended.out


def test_the_same_command_again_goes_on(detector):
    folder, ended = detector
    again = call(small_detect(), *DETECT_FEW, "--out", folder.parent)
    assert again.status == 0, again.err
    assert re.search("COCO.*", again.out)[0] == re.search("COCO.*", ended.out)[0]
    other = call(small_detect(), *DETECT_FEW, "--out", folder.parent, "--seed", 1).error()
    assert "seed is 1, was 0" in other


def test_finds_things_in_a_picture(detector, here):
    checkpoint = detector[0] / "checkpoint.npz"
    (here / "run").mkdir()
    copy = here / "run" / "checkpoint.npz"
    copy.write_bytes(checkpoint.read_bytes())
    scene = data.shapes("test", 1, side=DETECT_SIDE)
    wide = np.concatenate([scene.images[0]] * 2, axis=1)
    images.save_png(here / "my.png", wide, scale=3)
    ended = call(small_detect(), "--checkpoint", copy, "--image", "my.png", "--score", 0)
    assert ended.status == 0, ended.err
    assert everything_in(here / "run") == {"checkpoint.npz", "my-found.png"}
    assert pixels(here / "run" / "my-found.png").shape == (3 * DETECT_SIDE // 2, 3 * DETECT_SIDE, 3)
    picture = data.read_picture(here / "my.png", DETECT_SIDE, multiple=8)
    (found,) = vision.Finder.load(copy)(picture[None])
    lines = ended.out.splitlines()
    assert len(lines) == len(found) + 1
    assert lines[0].startswith(f"{scene.classes[found.labels[0]]} {found.scores[0]:.0%} at [")
    assert lines[-1].startswith(f"{len(found)} objects in 64 × 32 pixels.  See {copy.parent}")


def test_only_sure_detections_are_drawn(detector, here):
    Image.new("RGB", (64, 64), (90, 90, 90)).save(here / "my.png")
    copy = here / "checkpoint.npz"
    copy.write_bytes((detector[0] / "checkpoint.npz").read_bytes())
    ended = call(small_detect(), "--checkpoint", copy, "--image", "my.png", "--score", 1)
    assert ended.out.startswith("0 objects in 64 × 64 pixels")
    assert (pixels(here / "my-found.png") == 90).all()


REFUSED = {
    "--steps 0": "--steps: '0' is not a whole number from 1 on",
    "--scenes 0": "--scenes: '0' is not",
    "--test-scenes x": "--test-scenes: 'x' is not",
    "--score nan": "--score: 'nan' is not",
    "--seed -1": "--seed: '-1' is not",
    "--image good.png": "--image and --checkpoint belong together",
    "--checkpoint RUN/checkpoint.npz": "--image and --checkpoint belong together",
    "--checkpoint none.npz --image good.png": "none.npz does not exist: train with examples/detect",
    "--checkpoint text.npz --image good.png": "text.npz: the file is not a tinydiff checkpoint",
    "--checkpoint RUN/checkpoint.npz --image none.png": "none.png: No such file or directory",
    "--checkpoint RUN/checkpoint.npz --image text.npz": "text.npz is not a picture that can be",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, detector, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    (here / "text.npz").write_text("hello")
    before, run = everything_in(here), everything_in(detector[0])
    error = call(small_detect(), *command.replace("RUN", str(detector[0])).split()).error()
    assert error.startswith("detect.py: ")
    assert message in error
    assert everything_in(here) == before and everything_in(detector[0]) == run


def test_a_diffusion_model_is_not_a_detector(runs, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    checkpoint = runs.labelled / "checkpoint.npz"
    error = call(small_detect(), "--checkpoint", checkpoint, "--image", "good.png").error()
    assert "a checkpoint, but not a detector's" in error


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for name in ("runs/NAME/", "loss.png", "detections.png", "log", "checkpoint", "-found.png"):
        assert name in ended.stdout
    for default in ("12000", "6000", "500", "0.3"):
        assert default in ended.stdout


def test_the_script_itself_refuses(here):
    command = [*SCRIPT, "--checkpoint", "none.npz", "--image", "x.png"]
    wrong = subprocess.run(command, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("detect.py: none.npz does not exist")
    assert wrong.stderr.count("\n") == 1
