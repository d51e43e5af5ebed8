"""examples/edit.py: four tables of edited pictures, the same for the same seed; and refusals."""

import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, cell, everything_in, grid_of, pixels, with_few_digits

import tinydiff as td

SCRIPT = [sys.executable, str(EXAMPLES / "edit.py")]
TABLES = {"inpainting.png": (10, 7), "sdedit.png": (7, 8)}
TABLES |= {"variations.png": (10, 7), "interpolation.png": (4, 11)}


def small_edit():
    """The script with few steps and test digits."""
    module = with_few_digits("edit", 120)
    module.STEPS, module.RESAMPLINGS = 3, 2
    return module


@pytest.fixture(scope="module")
def edited(digits_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("edited")
    ended = call(small_edit(), digits_run / "checkpoint.npz", "--out", out)
    assert ended.status == 0, ended.err
    return out / "edit-digits", ended


def test_writes_what_it_promises(edited):
    folder, ended = edited
    assert everything_in(folder) == set(TABLES)
    for name, (rows, columns) in TABLES.items():
        height, width = pixels(folder / name).shape[:2]
        assert height > 2 * (30 * rows + 2) and width > 2 * (30 * columns + 2), f"{name}: captions"
        assert grid_of(folder / name, rows, columns).std() > 10
        assert name in ended.out


def test_what_is_known_stays(edited):
    table = grid_of(edited[0] / "inpainting.png", *TABLES["inpainting.png"])
    for row in range(10):
        picture, hidden, *drawn = (cell(table, row, column, 28) for column in range(7))
        assert np.all(hidden[14:] == 128)
        for other in (hidden, *drawn):
            assert np.array_equal(other[:14], picture[:14])
        assert len(np.unique(np.stack(drawn), axis=0)) == 5


def test_the_seed_decides(edited, digits_run, here):
    for seed, same in ((0, True), (1, False)):
        call(small_edit(), digits_run / "checkpoint.npz", "--seed", seed, "--name", seed)
        for name in TABLES:
            both = (folder / name for folder in (edited[0], here / "runs" / str(seed)))
            assert (len({path.read_bytes() for path in both}) == 1) == same, name


REFUSED = {
    "nothing.npz": "nothing.npz does not exist: train with examples/ddpm.py first",
    "CATS": "learned from 'classes', expected digits, mnist, fashion-mnist",
    "DIGITS --seed -1": "--seed: '-1' is not",
    "DIGITS --out text/runs": "text is not a folder",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, runs, digits_run, here):
    (here / "text").write_text("hello")
    before = everything_in(here)
    places = {"DIGITS": digits_run / "checkpoint.npz", "CATS": runs.labelled / "checkpoint.npz"}
    error = call(small_edit(), *(places.get(word, word) for word in command.split())).error()
    assert error.startswith("edit.py: ")
    assert message in error
    assert everything_in(here) == before


def test_help_names_what_it_writes():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for name in ("runs/NAME/", *TABLES):
        assert name in ended.stdout


def test_blocks_are_means():
    module = small_edit()
    x = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
    got = module.blocks(x)
    assert got.shape == x.shape
    assert np.all(got[0, :4, :4] == x[0, :4, :4].mean())
    assert np.all(got[0, 4:, :4] == x[0, 4:, :4].mean())


def test_a_damaged_checkpoint(here):
    td.save(here / "other.npz", {"settings": {"width": 3}})
    assert "not a diffusion model's" in call(small_edit(), "other.npz").error()
