"""examples/ladder.py: its pictures, going on, the same seed, and what it refuses."""

import functools
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, cell, everything_in, load, pixels
from PIL import Image

PICTURES = {"samples.png", "ladder.png", "ladder.gif", "loss.png"}
FILES = PICTURES | {"log.jsonl", "checkpoint.npz"}
OPTIONS = ("--rungs", 2, "--steps", 4)


def small_ladder():
    """examples/ladder.py with small networks and few digits"""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("ladder")
    module.NET.update(base_channels=8, norm_groups=4)
    digits, *rest = module.DATA["digits"]
    module.DATA["digits"] = (functools.partial(digits, count=100), *rest)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("ladder")
    ended = call(small_ladder(), *OPTIONS, "--out", out)
    assert ended.status == 0, ended.err
    return out / "ladder-digits", ended


def test_writes_what_it_promises(run):
    folder, ended = run
    assert everything_in(folder) == FILES
    assert "6 layers, 4 → 8 → 16 → 32" in ended.out
    for name in PICTURES:
        assert name in ended.out
    for bar in ("samples.png", "ladder.png"):
        assert re.search(rf"{bar}: 100%.* 6/6 ", ended.err)
    assert pixels(folder / "samples.png").shape == (2 * (10 * 34 + 2), 2 * (10 * 34 + 2))
    with Image.open(folder / "ladder.gif") as film:
        assert film.n_frames == 6 + 1 + 6
        assert film.size == (2 * (8 * 34 + 2), 2 * (5 * 34 + 2))


def test_the_ladder_goes_down_to_noise_and_up_again(run):
    folder, _ = run
    table = pixels(folder / "ladder.png").astype(float)
    assert table.shape == (2 * (10 * 34 + 2), 2 * (13 * 34 + 2))
    module = small_ladder()
    digits = module.DATA["digits"][0]()
    for label in range(10):
        first = cell(table, label, 0, 32)[2:30, 2:30]
        np.testing.assert_array_equal(
            first, digits.images[np.flatnonzero(digits.labels == label)[0], :, :, 0]
        )
        for column, square in zip(range(13), [1, 1, 2, 2, 4, 4, 8, 4, 4, 2, 2, 1, 1], strict=True):
            pixel = cell(table, label, column, 32)
            coarse = pixel[::square, ::square]
            np.testing.assert_array_equal(pixel, np.kron(coarse, np.ones((square, square))))


def test_stopped_and_gone_on_with_it_ends_the_same(run, tmp_path):
    folder, _ = run
    module, stop = small_ladder(), tmp_path / "ladder-digits"
    train = module.train

    def stopped(*given, **settings):
        for record in train(*given, **settings):
            yield record
            if record.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

    module.train = stopped
    assert "after step 2 of 4" in call(module, *OPTIONS, "--out", tmp_path).error()
    assert everything_in(stop) == {"checkpoint.npz", "log.jsonl"}
    assert call(small_ladder(), *OPTIONS, "--out", tmp_path).status == 0
    for name in ("samples.png", "ladder.png", "ladder.gif", "checkpoint.npz"):
        assert (stop / name).read_bytes() == (folder / name).read_bytes(), name
    error = call(small_ladder(), "--rungs", 3, "--steps", 4, "--out", tmp_path).error()
    assert "other settings" in error and "rungs" in error


def test_another_seed_other_pictures(run, tmp_path):
    folder, _ = run
    assert call(small_ladder(), *OPTIONS, "--seed", 1, "--out", tmp_path).status == 0
    other = tmp_path / "ladder-digits"
    assert (other / "samples.png").read_bytes() != (folder / "samples.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rungs", 0), "--rungs: '0' is not a whole number from 1 to 100"),
        (("--rungs", 101), "--rungs: '101' is not a whole number from 1 to 100"),
        (("--steps", 0), "--steps: '0' is not"),
        (("--guidance", "inf"), "--guidance: 'inf' is not a finite number"),
        (("--data", "letters"), "--data: invalid choice: 'letters'"),
    ],
)
def test_refuses_in_one_sentence(options, message, tmp_path):
    assert message in call(small_ladder(), *options, "--out", tmp_path).error()
    assert everything_in(tmp_path) == set()


def test_help_names_what_it_writes():
    command = [sys.executable, str(EXAMPLES / "ladder.py"), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0
    for name in PICTURES | {"the log", "checkpoint", "runs/NAME/"}:
        assert name in re.sub(r"\s+", " ", ended.stdout)
