"""examples/likelihood.py: the table adds up, the seed decides, and refusals."""

import argparse
import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels

import tinydiff as td
from tinydiff.diffusion import Pipeline

SUM = "bound: their sum"
FAST = ("--steps", 4, "--images", 3, "--tolerance", 0.01)


@pytest.fixture
def module():
    pytest.importorskip("matplotlib", reason="its picture needs the extra 'plots'")
    return load("likelihood")


def table(out):
    """(mean, error) of every row"""
    rows = re.findall(r"^(.+?)\s+(\d+\.\d{4}) ± (\d+\.\d{4})$", out, re.MULTILINE)
    return {name: (float(mean), float(error)) for name, mean, error in rows}


def test_the_table_adds_up_and_the_seed_decides(runs, pictures, here, module):
    checkpoint = runs.labelled / "checkpoint.npz"
    command = (checkpoint, "--data", pictures / "classes", *FAST)
    ended = call(module, *command)
    assert ended.status == 0, ended.err
    assert ended.out.startswith("classes: 3 images, told their labels; bits per dimension\n")
    rows = table(ended.out)
    assert list(rows) == ["L_T", "Σ L_(t−1), 3 steps", "L_0", SUM, "exact, by the ODE"]
    *parts, total, exact = (mean for mean, _ in rows.values())
    assert total == pytest.approx(sum(parts), abs=2e-4)
    assert exact > 1 and total > 1, "a network that has learned for 8 steps knows little"
    assert all(error > 0 for name, (_, error) in rows.items() if name != "L_T")
    assert "of which probes ± 0.0" in ended.out
    assert everything_in(here / "runs") == {"likelihood-classes", "likelihood-classes/terms.png"}
    picture = pixels(here / "runs" / "likelihood-classes" / "terms.png")
    assert picture.shape[:2] == (504, 1320) and picture.std() > 10
    assert call(module, *command).out == ended.out
    beta = table(call(module, *command, "--variance", "beta", "--probes", 1).out)
    assert beta["L_0"] == rows["L_0"] and beta[SUM] != rows[SUM]


def test_labels_are_told(runs, pictures, here, module):
    """With the labels the other way round, or another seed, the numbers are others."""
    pipeline = Pipeline.load(runs.labelled / "checkpoint.npz")
    own = td.data.image_folder(pictures / "classes", 8)
    x0 = td.images.to_float(own.images)

    def sums(labels, seed):
        args = argparse.Namespace(steps=2, seed=seed, variance="posterior")
        return module.bound(pipeline, x0, labels, args)[1].sum(axis=0)

    right = sums(own.labels, 0)
    assert right.shape == (11,)
    np.testing.assert_array_equal(sums(own.labels, 0), right)
    assert np.all(sums(1 - own.labels, 0) != right)
    assert np.all(sums(own.labels, 1) != right)


def test_without_classes(runs, pictures, here, module):
    command = (runs.unlabelled / "checkpoint.npz", "--data", pictures / "flat", *FAST)
    ended = call(module, *command, "--probes", 1, "--out", "elsewhere")
    assert "told no labels" in ended.out and "with ten times the tolerance" in ended.out, ended
    assert "probes" not in ended.out and "nan" not in ended.out
    assert "ODE, 1e-02: 100%" in ended.err and re.search(r"ODE, 1e-02: +[1-9]\d?%", ended.err)
    assert (here / "elsewhere" / "likelihood-flat" / "terms.png").exists()


def test_one_image_in_two_steps(runs, pictures, here, module):
    command = (runs.unlabelled / "checkpoint.npz", "--data", pictures / "flat", *FAST)
    ended = call(module, *command, "--images", 1, "--steps", 2)
    assert ended.status == 0, ended.err
    assert re.search(r"^Σ L_\(t−1\), 1 step +\d+\.\d{4} \(one image: no error\)$", ended.out, re.M)
    assert "nan" not in ended.out and "of which probes ± " in ended.out


def test_batches_do_not_change_the_pictures(runs, module):
    x, labels = np.arange(12.0).reshape(6, 2), np.arange(6)
    module.BATCH = 4
    parts = list(module.batches(x, labels))
    assert [len(part) for part, _ in parts] == [4, 2]
    assert np.concatenate([y for _, y in parts]).tolist() == labels.tolist()


REFUSED = {
    "nothing.npz": "nothing.npz does not exist: train with examples/ddpm.py first",
    "LABELLED": "--data is None: expected digits, mnist, fashion-mnist, shapes, cifar10, or a",
    "LABELLED --data nowhere": "--data is nowhere: expected digits",
    "LABELLED --data FLAT": "does not fit the model, which knows pictures (8, 8, 3) of 2 classes",
    "LABELLED --data CLASSES --steps 1001": "at most T = 1000, got 1001",
    "LABELLED --images 0": "--images: '0' is not",
    "LABELLED --probes 0": "--probes: '0' is not",
    "LABELLED --tolerance 0": "--tolerance: '0' is not",
    "LABELLED --tolerance 0.1": "--tolerance: '0.1' is not a finite number above 0 and at most",
    "LABELLED --steps 1": "--steps: '1' is not a whole number from 2 on",
    "LABELLED --variance learned": "--variance: invalid choice",
    "LABELLED --out text": "text is not a folder",
}


@pytest.mark.parametrize("command", REFUSED)
def test_refuses_in_one_sentence_and_leaves_nothing(command, runs, pictures, here, module):
    (here / "text").write_text("precious")
    places = {
        "LABELLED": runs.labelled / "checkpoint.npz",
        "FLAT": pictures / "flat",
        "CLASSES": pictures / "classes",
    }
    error = call(module, *(places.get(word, word) for word in command.split())).error()
    assert error.startswith("likelihood.py: ")
    assert REFUSED[command] in error
    assert everything_in(here) == {"text"}


def test_help():
    script = [sys.executable, str(EXAMPLES / "likelihood.py"), "--help"]
    shown = subprocess.run(script, capture_output=True, text=True)
    assert shown.returncode == 0
    for word in ("terms.png", "bits per dimension", "--images", "--probes", "true labels"):
        assert word in shown.stdout
