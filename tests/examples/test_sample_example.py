"""examples/sample.py: one picture, a folder or arrays, of the classes asked for; and refusals."""

import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, SAMPLING_STEPS, SIZE, call, cell, everything_in, load, pixels

import tinydiff as td
from tinydiff.diffusion.samplers import SAMPLERS

SCRIPT = [sys.executable, str(EXAMPLES / "sample.py")]


def sample(checkpoint, *options):
    """The script, with few steps unless the options say otherwise."""
    return call(load("sample"), checkpoint, "--steps", 2, *options)


@pytest.fixture
def trained(runs):
    return runs.labelled / "checkpoint.npz"


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {"images", "labels"}
        return file["images"], file["labels"]


def test_draws_what_training_drew_at_its_end(runs, here):
    """The same seed, the averaged weights, ten of each class: the same bytes."""
    ended = sample(runs.labelled / "checkpoint.npz", "--count", 20, "--steps", SAMPLING_STEPS)
    assert ended.status == 0, ended.err
    assert ended.out == "20 pictures in samples.png\n"
    drawn = (here / "samples.png").read_bytes()
    assert drawn == (runs.labelled / "samples.png").read_bytes()
    sample(runs.unlabelled / "checkpoint.npz", "--steps", SAMPLING_STEPS, "--out", "flat.png")
    drawn = (here / "flat.png").read_bytes()
    assert drawn == (runs.unlabelled / "samples.png").read_bytes()


def test_picture_folder_and_arrays_hold_the_same(trained, here):
    for out in ("all.npz", "all.png", "one/by/one"):
        assert sample(trained, "--count", 5, "--columns", 3, "--out", out).status == 0
    images, labels = arrays(here / "all.npz")
    assert (images.dtype, images.shape) == (np.uint8, (5, SIZE, SIZE, 3))
    assert labels.dtype.kind == "i"
    assert labels.tolist() == [0, 0, 0, 1, 1]
    assert len(np.unique(images, axis=0)) == 5
    table = pixels(here / "all.png")
    assert table.shape == (2 * (2 * 10 + 2), 2 * (3 * 10 + 2), 3)
    names = [f"0000{i}-{'cats' if i < 3 else 'dogs'}.png" for i in range(5)]
    assert everything_in(here / "one" / "by" / "one") == set(names)
    for i, name in enumerate(names):
        assert np.array_equal(cell(table, i // 3, i % 3, SIZE), images[i])
        assert np.array_equal(pixels(here / "one" / "by" / "one" / name)[::2, ::2], images[i])


def test_without_classes_the_labels_say_so(runs, here):
    assert sample(runs.unlabelled / "checkpoint.npz", "--count", 3, "--out", "x.npz").status == 0
    images, labels = arrays(here / "x.npz")
    assert images.shape == (3, SIZE, SIZE, 3)
    assert labels.tolist() == [-1, -1, -1]
    assert sample(runs.unlabelled / "checkpoint.npz", "--count", 2, "--out", "x").status == 0
    assert everything_in(here / "x") == {"00000.png", "00001.png"}


def test_class(trained, here):
    sample(trained, "--class", "dogs", "--count", 3, "--out", "dogs.npz")
    assert arrays(here / "dogs.npz")[1].tolist() == [1, 1, 1]
    sample(trained, "--class", "dogs", "--class", "cats", "--count", 4, "--out", "both.npz")
    assert arrays(here / "both.npz")[1].tolist() == [0, 0, 1, 1]
    sample(trained, "--class", "cats", "--count", 3, "--out", "cats.npz")
    assert not np.array_equal(arrays(here / "cats.npz")[0], arrays(here / "dogs.npz")[0])


def test_the_seed_decides(trained, here):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        sample(trained, "--count", 3, "--seed", seed, "--out", f"{name}.npz")
        sample(trained, "--count", 3, "--seed", seed, "--out", f"{name}.png")
    for kind in ("npz", "png"):
        a, b, c = ((here / f"{name}.{kind}").read_bytes() for name in "abc")
        assert a == b
        assert a != c


OPTIONS = ["--guidance 1", "--guidance 5", "--steps 3"]
OPTIONS += [f"--sampler {name}" for name in SAMPLERS if name != "ddpm"]


@pytest.mark.parametrize("option", OPTIONS)
def test_settings_change_the_pictures(option, trained, here):
    sample(trained, "--count", 2, "--out", "usual.npz")
    assert sample(trained, "--count", 2, "--out", "other.npz", *option.split()).status == 0
    assert not np.array_equal(arrays(here / "usual.npz")[0], arrays(here / "other.npz")[0])


REFUSED = {
    "nothing.npz": "nothing.npz does not exist: train with examples/ddpm.py first",
    "text.npz": "text.npz: the file is not a tinydiff checkpoint",
    "cut.npz": "cut.npz: the file is truncated or damaged",
    "arrays.npz": "arrays.npz: not a tinydiff checkpoint",
    "other.npz": "other.npz: a checkpoint, but not a diffusion model's",
    "folder": "folder: Is a directory",
    "TRAINED --count 0": "--count: '0' is not a whole number from 1 on",
    "TRAINED --count -1": "--count: '-1' is not",
    "TRAINED --class lions": "'lions' is not one of cats, dogs",
    "FLAT --class cats": "trained without classes",
    "FLAT --guidance 3": "no labels, captions or maps to guide to",
    "TRAINED --guidance inf": "--guidance: 'inf' is not a finite number",
    "TRAINED --sampler rk4": "--sampler: invalid choice: 'rk4'",
    "TRAINED --steps 0": "--steps: '0' is not",
    "TRAINED --steps 1001": "at most T = 1000, got 1001",
    "TRAINED --seed -1": "--seed: '-1' is not",
    "TRAINED --scale 0": "--scale: '0' is not",
    "TRAINED --columns 0": "--columns: '0' is not",
    "TRAINED --out x.jpg": "--out is x.jpg, expected a name in .png or .npz, or a folder",
    "TRAINED --out text.npz/x.png": "text.npz is not a folder",
    "TRAINED --out folder.png": "there is a folder, where a file is to be written",
    "TRAINED --out plain": "there is a file, where a folder is to be written",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, runs, here):
    trained = runs.labelled / "checkpoint.npz"
    (here / "text.npz").write_text("hello")
    (here / "plain").write_text("precious")
    (here / "cut.npz").write_bytes(trained.read_bytes()[:5000])
    np.savez(here / "arrays.npz", a=np.zeros(3))
    td.save(here / "other.npz", {"settings": {"width": 3}})
    (here / "folder").mkdir()
    (here / "folder.png").mkdir()
    before = everything_in(here)
    places = {"TRAINED": str(trained), "FLAT": str(runs.unlabelled / "checkpoint.npz")}
    words = [places.get(word, word) for word in command.split()]
    options = [] if "--out" in words else ["--out", "drawn.png"]
    error = sample(*words, *options).error()
    assert error.startswith("sample.py: ")
    assert message in error
    assert everything_in(here) == before
    assert (here / "plain").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_told_before_drawing(trained, here, monkeypatch):
    monkeypatch.setattr("tinydiff.commandline.os.access", lambda *given: False)
    ended = sample(trained, "--out", "new/drawn.png")
    assert ended.error() == f"sample.py: new cannot be written to: {here} is read-only"
    assert "image/s" not in ended.err


@pytest.mark.parametrize("option", ["--steps 100000", "--guidance 1e400", "--class lions"])
def test_what_cannot_be_drawn_is_told_before_the_bar(option, trained, here):
    ended = call(load("sample"), trained, *option.split())
    assert "sample.py: " in ended.error() and "image" not in ended.err


def test_more_pictures_than_memory_holds(trained, here):
    error = sample(trained, "--count", 10**15).error()
    assert len(error) > len("sample.py: ")
    assert "memory" in error or "allocate" in error
    assert everything_in(here) == set()


def test_a_full_disk(trained, here, monkeypatch):
    def full(*given, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", full)
    error = sample(trained, "--count", 1, "--out", "drawn.npz").error()
    assert error == "sample.py: [Errno 28] No space left on device"
    assert everything_in(here) == set()


def test_the_script_itself(trained, here):
    shown = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    for word in (".png", ".npz", "`images` (uint8)", "`labels`", "folder"):
        assert word in shown.stdout
    command = [*SCRIPT, str(trained), "--count", "2", "--steps", "2"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert pixels(here / "samples.png").shape == (24, 44, 3), "no place for more than two"
    wrong = subprocess.run([*SCRIPT, "no.npz"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr == "sample.py: no.npz does not exist: train with examples/ddpm.py first\n"
