"""examples/segment.py: trains, measures, draws, compares, colours; and what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels
from PIL import Image

from tinydiff import data, images, training, vision

FILES = {"loss.png", "segments.png", "log.jsonl", "checkpoint.npz"}
SCRIPT = [sys.executable, str(EXAMPLES / "segment.py")]
SIDE, SHOWN = 32, 3
FEW = ("--steps", 3, "--scenes", 4, "--test-scenes", 5)


def small_segment():
    """examples/segment.py with small pictures, small networks and quick learning."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("segment")
    module.SIDE, module.SHOWN, module.BATCH, module.WINDOWS, module.LR = SIDE, SHOWN, 2, 8, 0.05
    small = (
        {"widths": (8, 8), "blocks": (0, 1)},
        {"width": 8, "blocks": 0},
        {"widths": (2,) * 7},
    )
    for (design, (_, steps)), network in zip(list(module.RECIPES.items()), small, strict=True):
        module.RECIPES[design] = network, steps
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of runs of all designs, and what training the first said."""
    out = tmp_path_factory.mktemp("segmenters")
    variants = ((), ("--up", "unpool", "--no-skips"), ("--design", "full"), ("--design", "window"))
    ended = [call(small_segment(), *FEW, *variant, "--out", out) for variant in variants]
    assert [e.status for e in ended] == [0] * 4, ended
    return out, ended


def test_writes_what_it_promises(trained):
    out, ended = trained
    names = ["encoder-decoder", "encoder-decoder-unpool-no-skips", "full", "window"]
    assert sorted(path.name for path in out.iterdir()) == [f"segment-{name}" for name in names]
    for name, end in zip(names, ended, strict=True):
        folder = out / f"segment-{name}"
        assert everything_in(folder) == FILES
        assert [r["step"] for r in training.read_log(folder / "log.jsonl")] == [1, 2, 3]
        assert pixels(folder / "loss.png").shape[:2] == (480, 840)
        for file in ("loss.png", "segments.png"):
            assert file in end.out


def test_variants_are_what_they_are_called(trained):
    folder = trained[0] / "segment-encoder-decoder-unpool-no-skips"
    settings = training.load(folder / "checkpoint.npz")["settings"]
    assert settings["network"] == {
        "widths": [8, 8],
        "blocks": [0, 1],
        "up": "unpool",
        "skips": False,
    }


def test_shows_scene_truth_and_what_was_found(trained):
    table = pixels(trained[0] / "segment-encoder-decoder" / "segments.png")
    test = data.shapes("test", SHOWN, side=SIDE)
    masks = data.semantic_masks(test.labels, test.instances)
    rows = [test.images, np.stack(list(map(vision.draw_mask, test.images, masks)))]
    step = 2 * (SIDE + 2)
    left, top = table.shape[1] - SHOWN * step - 4, 21
    for i, row in enumerate(rows):
        for k, picture in enumerate(row):
            y, x = top + 4 + i * step, left + 4 + k * step
            shown = table[y : y + 2 * SIDE : 2, x : x + 2 * SIDE : 2]
            assert np.array_equal(shown, picture), (i, k)
    names = vision.draw_names(test.classes, table.shape[1])
    assert np.array_equal(table[-len(names) :], names)
    assert len(table) == top + 4 + 3 * step + len(names)


@pytest.mark.parametrize(("place", "name"), [(0, "encoder-decoder"), (2, "full"), (3, "window")])
def test_measures_the_averaged_weights_on_the_test_split(trained, place, name):
    out, ended = trained
    said = ended[place].out
    test = data.shapes("test", 5, side=SIDE)
    found = vision.Segmenter.load(out / f"segment-{name}" / "checkpoint.npz")(test.images)
    masks = data.semantic_masks(test.labels, test.instances)
    iou = vision.class_iou(vision.confusion_matrix(found, masks, 11))
    assert f"mean IoU {np.nanmean(iou):.3f}" in said
    for label, value in zip(("background", *test.classes), iou, strict=True):
        assert f"{label:10} IoU {value:.3f}" in said
    counts = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) multiply-adds", said)]
    assert len(counts) == (2 if name == "window" else 1)
    if name == "full":
        assert counts == [SIDE**2 * (9 * 3 * 8 + 8 * 11)]
    if name == "window":
        assert counts[1] > 2 * counts[0]


def test_the_same_command_again_goes_on(trained):
    out, ended = trained
    again = call(small_segment(), *FEW, "--out", out)
    assert again.status == 0, again.err
    assert re.search("mean IoU.*", again.out)[0] == re.search("mean IoU.*", ended[0].out)[0]
    other = call(small_segment(), *FEW, "--out", out, "--seed", 1).error()
    assert "seed is 1, was 0" in other


def test_compares(trained, here):
    out, ended = trained
    runs = [out / "segment-window", out / "segment-full"]
    again = call(small_segment(), "--test-scenes", 5, "--compare", *runs, "--out", "runs")
    assert again.status == 0, again.err
    assert everything_in(here) == {"runs", "runs/segment-designs.png"}
    said = re.findall("mean IoU .*", again.out)
    assert said == [re.search("mean IoU.*", ended[i].out)[0] for i in (3, 2)]
    assert [line.split(":")[0] for line in again.out.splitlines() if "minutes" in line] == [
        "segment-window",
        "segment-full",
    ]
    alone = pixels(runs[0] / "segments.png")
    assert len(pixels(here / "runs" / "segment-designs.png")) == len(alone) + 2 * (SIDE + 2)


def test_colours_a_picture(trained, here):
    copy = here / "run" / "checkpoint.npz"
    copy.parent.mkdir()
    copy.write_bytes((trained[0] / "segment-encoder-decoder" / "checkpoint.npz").read_bytes())
    scene = data.shapes("test", 1, side=SIDE)
    images.save_png(here / "my.png", np.concatenate([scene.images[0]] * 2, axis=1), scale=3)
    ended = call(small_segment(), "--checkpoint", copy, "--image", "my.png")
    assert ended.status == 0, ended.err
    assert everything_in(here / "run") == {"checkpoint.npz", "my-segments.png"}
    picture = data.read_picture(here / "my.png", SIDE, multiple=2)
    (mask,) = vision.Segmenter.load(copy)(picture[None])
    expected = vision.draw_mask(picture, mask, scale=5)
    assert np.array_equal(pixels(here / "run" / "my-segments.png")[: len(expected)], expected)
    *lines, last = ended.out.splitlines()
    names = ("background", *scene.classes)
    assert lines == [f"{names[k]}: {(mask == k).mean():.1%} of the pixels" for k in np.unique(mask)]
    assert last == f"See {copy.with_name('my-segments.png')}."


REFUSED = {
    "--steps 0": "--steps: '0' is not a whole number from 1 on",
    "--scenes 1": "--scenes: '1' is not",
    "--test-scenes x": "--test-scenes: 'x' is not",
    "--design u-net": "invalid choice: 'u-net'",
    "--up bilinear": "invalid choice: 'bilinear'",
    "--design full --up unpool": "--design full has no decoder: leave out --up and --no-skips",
    "--design window --no-skips": "--design window has no decoder",
    "--image good.png": "--image and --checkpoint belong together",
    "--checkpoint RUN/checkpoint.npz": "--image and --checkpoint belong together",
    "--checkpoint none.npz --image good.png": "none.npz does not exist: train with examples/segm",
    "--checkpoint text.npz --image good.png": "text.npz: the file is not a tinydiff checkpoint",
    "--checkpoint RUN/checkpoint.npz --image none.png": "none.png: No such file or directory",
    "--checkpoint RUN/checkpoint.npz --image text.npz": "text.npz is not a picture that can be",
    "--compare RUN none": "none/checkpoint.npz does not exist: train with examples/segment.py",
    "--compare RUN --out text.npz": "text.npz cannot be written to",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, trained, here):
    run = trained[0] / "segment-full"
    Image.new("RGB", (64, 64)).save(here / "good.png")
    (here / "text.npz").write_text("hello")
    before, there = everything_in(here), everything_in(run)
    error = call(small_segment(), *command.replace("RUN", str(run)).split()).error()
    assert error.startswith("segment.py: ")
    assert message in error
    assert everything_in(here) == before and everything_in(run) == there


def test_a_diffusion_model_is_not_a_segmenter(runs, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    checkpoint = runs.labelled / "checkpoint.npz"
    error = call(small_segment(), "--checkpoint", checkpoint, "--image", "good.png").error()
    assert "a checkpoint, but not a segmenter's" in error


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    written = ("runs/NAME/", "loss.png", "segments.png", "log", "checkpoint", "-designs.png")
    for text in (*written, "MY-segments.png", "encoder-decoder", "transpose", "20000", "500"):
        assert text in ended.stdout


def test_the_script_itself_refuses(here):
    command = [*SCRIPT, "--checkpoint", "none.npz", "--image", "x.png"]
    wrong = subprocess.run(command, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("segment.py: none.npz does not exist")
    assert wrong.stderr.count("\n") == 1
