"""examples/evaluate.py: a table of metrics of a checkpoint or a file; its judge; its refusals."""

import dataclasses
import functools
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, small_ddpm, with_few_digits, write_pictures

from tinydiff import data, metrics
from tinydiff.files import replacing

SCRIPT = [sys.executable, str(EXAMPLES / "evaluate.py")]
ROWS = ["Fréchet distance", "precision", "recall", "label agreement"]
SMALL = {"batch_size": 20, "widths": (8, 8)}


def small_evaluate():
    """examples/evaluate.py with small classifiers and few digits."""
    module = with_few_digits("evaluate", 150)
    module.LEAST = 40
    judge_of = functools.partial(metrics.judge_of, **SMALL)
    score = functools.partial(metrics.classifier_accuracy_score, steps=3, **SMALL)
    small = {"judge_of": judge_of, "classifier_accuracy_score": score}
    module.metrics = types.SimpleNamespace(**vars(metrics) | small)
    return module


def evaluate(*options):
    return call(small_evaluate(), *options)


def table(ended) -> dict[str, list[float]]:
    """Row: value and error of the drawn pictures, value and error of the yardstick."""
    assert ended.status == 0, ended.err
    lines = ended.out[ended.out.index("training set") :].splitlines()[1:]
    return {
        re.match(r"[^\d−-]+", line)[0].strip(): [float(n) for n in re.findall(r"-?\d+\.\d+", line)]
        for line in lines
    }


def write(path, images, labels):
    with replacing(path) as file:
        np.savez_compressed(file, images=images, labels=labels)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder of runs with a judge of the digits and a model that has hardly learned them."""
    out = tmp_path_factory.mktemp("evaluated")
    small = small_evaluate()
    small.metrics.judge_of(small.DATA["digits"]("train"), out / "classify-digits")
    assert call(small_ddpm(), "--steps", 2, "--out", out).status == 0
    return out


def test_the_training_set_itself_is_its_own_yardstick(out, here):
    """All of it, in another order."""
    train_set = data.digits("train", count=150)
    write(here / "drawn.npz", train_set.images[::-1], train_set.labels[::-1])
    found = table(evaluate("drawn.npz", "--data", "digits", "--out", out))
    assert list(found) == ROWS
    for row, (value, error, yardstick, its_error) in found.items():
        # Precision and recall look at as many rows as there are of the test set, others each time.
        tolerance = 0.006 if row == "label agreement" else 5
        assert value == pytest.approx(yardstick, abs=tolerance), row
        assert error == pytest.approx(its_error, rel=0.5, abs=0.01)
    judge = metrics.load_judge(out / "classify-digits" / "checkpoint.npz")
    right = (metrics.predict(judge, train_set.images) == train_set.labels).mean()
    assert found["label agreement"][0] == pytest.approx(100 * right, abs=0.006)


def test_noise_is_far_from_digits(out, here):
    noise = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), dtype=np.uint8)
    write(here / "noise.npz", noise, np.full(50, -1))
    found = table(evaluate("noise.npz", "--data", "digits", "--out", out, "--cas"))
    assert list(found) == ROWS[:3], "there are no labels to agree with"
    distance, error, yardstick, _ = found["Fréchet distance"]
    assert distance > yardstick + 5 * error
    assert found["precision"][0] < 10 and found["recall"][0] < 10
    assert found["precision"][2] > 50


def test_draws_from_a_checkpoint_what_its_seed_says(out, here):
    command = (out / "digits" / "checkpoint.npz", "--count", 50, "--steps", 1, "--out", out)
    ended = evaluate(*command, "--cas")
    found = table(ended)
    assert list(found) == [*ROWS, "accuracy score"]
    assert re.search(r"50 pictures against \d+ of digits-test", ended.out)
    again = table(evaluate(*command))
    assert again == {row: found[row] for row in ROWS}
    assert table(evaluate(*command, "--seed", 1)) != again
    assert everything_in(here) == set()


def test_trains_the_judge_if_there_is_none(out, here):
    digits = data.digits("test", count=150)
    write(here / "drawn.npz", digits.images, digits.labels)
    ended = evaluate("drawn.npz", "--data", "digits")
    assert "There is no judge in runs/classify-digits yet: it is trained now" in ended.out
    assert (here / "runs" / "classify-digits" / "checkpoint.npz").exists()
    again = evaluate("drawn.npz", "--data", "digits")
    assert "no judge" not in again.out
    assert table(again) == table(ended)


def test_pictures_of_ones_own_in_colour(runs, here):
    """A model that learned from a folder, against every tenth picture of such a folder."""
    for name, brightness in (("cats", 120), ("dogs", 250)):
        write_pictures(here / "classes" / name, 200, brightness)
    module = small_evaluate()
    small = {"widths": (8, 8), "blocks": (0, 1), "batch_size": 20, "epochs": 2, "least_steps": 1}
    module.metrics.judge_of = functools.partial(metrics.judge_of, **small)
    command = (runs.labelled / "checkpoint.npz", "--data", "classes", "--count", 40, "--steps", 1)
    ended = call(module, *command)
    assert "There is no judge in runs/classify-classes yet: it is trained now" in ended.out
    assert list(table(ended)) == ROWS
    assert "40 pictures against 40 of classes-test" in ended.out
    kind = metrics.Recogniser.load(here / "runs" / "classify-classes" / "checkpoint.npz").settings
    assert kind["kind"] == "resnet" and kind["image"] == [8, 8, 3] and kind["recipe"]["flip"]
    few = [write_pictures(here / "few" / name, 30, 120) for name in ("cats", "dogs")]
    error = call(module, *command, "--data", few[0].parent).error()
    assert "few-test holds 6 pictures, expected 40 or more" in error
    for folder in (here / "classes").iterdir():
        folder.rename(folder.with_name(f"more-{folder.name}"))
    error = call(module, *command).error()
    assert "the model draws cats, dogs, but the classes of classes are more-cats" in error


REFUSED = {
    "nothing.npz": "nothing.npz does not exist: train with examples/ddpm.py first",
    "text.npz": "text.npz: the file is not a tinydiff checkpoint",
    "drawn.npz": "--data: which pictures should they be like?  digits, mnist",
    "few.npz --data digits": "few.npz holds 39 pictures, expected 40 or more",
    "colour.npz --data digits": "pictures of (28, 28, 3), those of digits are (28, 28, 1)",
    "floats.npz --data digits": "is not a file that examples/sample.py has written",
    "drawn.npz --data cats": "--data is 'cats', expected digits, mnist, fashion-mnist, shapes",
    "drawn.npz --count 39": "--count: '39' is not a whole number from 40 on",
    "drawn.npz --guidance nan": "--guidance: 'nan' is not a finite number",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, here):
    images = np.zeros((40, 28, 28, 1), np.uint8)
    write(here / "drawn.npz", images, np.zeros(40, int))
    write(here / "few.npz", images[:39], np.zeros(39, int))
    write(here / "colour.npz", np.zeros((40, 28, 28, 3), np.uint8), np.zeros(40, int))
    write(here / "floats.npz", images / 255, np.zeros(40, int))
    (here / "text.npz").write_text("hello")
    before = everything_in(here)
    error = evaluate(*command.split()).error()
    assert error.startswith("evaluate.py: ")
    assert message in error
    assert everything_in(here) == before


def test_refuses_a_model_of_other_classes(out, here):
    """Of the same number and shape: digits against clothes."""
    module = small_evaluate()
    names = tuple("abcdefghij")
    clothes = lambda split: dataclasses.replace(module.DATA["digits"](split), classes=names)
    module.DATA = {**module.DATA, "fashion-mnist": clothes}
    error = call(module, out / "digits" / "checkpoint.npz", "--data", "fashion-mnist").error()
    assert "the model draws 0, 1, 2" in error and "of fashion-mnist are a, b, c" in error
    assert everything_in(here) == set()


def test_help_says_what_the_rows_mean():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for row in (*ROWS, "accuracy score", "runs/classify-DATA/"):
        assert row.split()[0] in ended.stdout
