"""examples/guidance.py: trains what it needs once, draws a row a weight, measures; and refusals."""

import functools
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from example_runs import EXAMPLES, call, cell, everything_in, grid_of, pixels, with_few_digits

from tinydiff import metrics, training
from tinydiff.models import NoisyClassifier

SCRIPT = [sys.executable, str(EXAMPLES / "guidance.py")]
WAYS = ("classifier-free", "interval", "rescaled", "classifier")
NOISY, JUDGE = "classify-noisy-digits", "classify-digits"


def small_guidance():
    """The script with small classifiers, few digits, steps and weights."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = with_few_digits("guidance", 120)
    module.NoisyClassifier = functools.partial(NoisyClassifier, widths=(8, 8))
    judge_of = functools.partial(metrics.judge_of, epochs=1, batch_size=40, widths=(8, 8))
    module.metrics = types.SimpleNamespace(**vars(metrics) | {"judge_of": judge_of})
    module.STEPS, module.BATCH, module.EPOCHS, module.WEIGHTS = 3, 12, 2, (1.0, 3.0)
    return module


def guidance(run, *options):
    return call(small_guidance(), run / "checkpoint.npz", "--count", 20, *options)


@pytest.fixture(scope="module")
def swept(digits_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("swept")
    ended = guidance(digits_run, "--out", out)
    assert ended.status == 0, ended.err
    return out, ended


def test_writes_what_it_promises(swept):
    out, ended = swept
    folder = out / "guidance-digits"
    assert everything_in(folder) == {"curves.png", *(f"{way}.png" for way in WAYS)}
    for way in WAYS:
        table = pixels(folder / f"{way}.png")
        height, width = 2 * (30 * 2 + 2), 2 * (30 * 10 + 2)
        assert table.shape[0] > height and table.shape[1] > width, "captions"
        line = rf"^{way}, w = (\S+): (\S+)% ± (\S+)%, recall (\S+)% ± (\S+)%$"
        found = re.findall(line, ended.out, re.MULTILINE)
        assert [w for w, *_ in found] == ["1", "3"]
        assert all(0 <= float(a) <= 100 for _, *shares in found for a in shares)
    assert np.ptp(pixels(folder / "curves.png")) > 100
    for name in ("curves.png", "classifier.png"):
        assert name in ended.out


def test_each_way_is_its_own_and_the_first_weight_is_the_conditional_model(swept):
    tables = {way: grid_of(swept[0] / "guidance-digits" / f"{way}.png", 2, 10) for way in WAYS}
    rows = {way: np.stack([cell(t, 0, i, 28) for i in range(10)]) for way, t in tables.items()}
    assert np.array_equal(rows["interval"], rows["classifier-free"])
    assert np.array_equal(rows["rescaled"], rows["classifier-free"])
    assert not np.array_equal(rows["classifier"], rows["classifier-free"])
    second = [t[62:].tobytes() for t in tables.values()]
    assert len(set(second)) == 4


def test_classifiers_are_trained_once(swept, digits_run):
    out, _ = swept
    paths = [out / name / "checkpoint.npz" for name in (NOISY, JUDGE)]
    assert training.load(paths[0])["step"] == training.load(paths[0])["settings"]["steps"] > 0
    before = [training.load(path)["model"] for path in paths]
    again = guidance(digits_run, "--out", out, "--name", "again")
    assert again.status == 0, again.err
    for path, weights in zip(paths, before, strict=True):
        after = training.load(path)["model"]
        assert all(np.array_equal(after[name], weights[name]) for name in weights)
    for name in everything_in(out / "again"):
        both = [(out / run / name).read_bytes() for run in ("guidance-digits", "again")]
        assert both[0] == both[1], name


REFUSED = {
    "nothing.npz": "nothing.npz does not exist: train with examples/ddpm.py first",
    "CATS": "learned from 'classes', expected digits, mnist, fashion-mnist",
    "CATS --count 3": "--count: '3' is not a whole number from 10 on",
    "CATS --seed -1": "--seed: '-1' is not",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, runs, here):
    cats = runs.labelled / "checkpoint.npz"
    words = (cats if word == "CATS" else word for word in command.split())
    error = call(small_guidance(), *words).error()
    assert error.startswith("guidance.py: ")
    assert message in error
    assert everything_in(here) == set()


def test_help_names_what_it_writes():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for name in ("runs/NAME/", "curves.png", "runs/classify-DATA/", *WAYS):
        assert name in ended.stdout
