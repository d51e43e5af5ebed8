"""examples/classify.py: trains, shows its mistakes, judges what was drawn; and what it refuses."""

import functools
import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, cell, everything_in, load, pixels, small_classify

from tinydiff import backend, data, training
from tinydiff.files import replacing
from tinydiff.kernels import workers
from tinydiff.models import Classifier

FILES = {"loss.png", "mistakes.png", "log.jsonl", "checkpoint.npz"}
SCRIPT = [sys.executable, str(EXAMPLES / "classify.py")]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The folder of a classifier that has hardly learned, and what training it said."""
    out = tmp_path_factory.mktemp("classifier")
    ended = call(small_classify(), "--epochs", 0.5, "--out", out)
    assert ended.status == 0, ended.err
    return out / "classify-digits", ended


def write_drawn(path, images, labels):
    with replacing(path) as file:
        np.savez_compressed(file, images=images, labels=labels)


def test_writes_what_it_promises(classifier):
    folder, ended = classifier
    assert everything_in(folder) == FILES
    assert [r["step"] for r in training.read_log(folder / "log.jsonl")] == [1, 2, 3]
    assert pixels(folder / "loss.png").shape[:2] == (480, 840)
    mistakes = pixels(folder / "mistakes.png")
    assert mistakes.shape[1] == 2 * (10 * 30 + 2)
    assert np.ptp(mistakes) > 100
    assert "loss.png" in ended.out
    assert "mistakes.png" in ended.out


def test_counts_and_shows_the_mistakes_of_the_averaged_weights(classifier):
    folder, ended = classifier
    test_set = data.digits("test", count=120)
    model = small_classify().load_judge(folder / "checkpoint.npz").eval()

    def mistakes():
        logits = model(2 * test_set.images.astype(np.float32) / 255 - 1).numpy()
        return np.flatnonzero(logits.argmax(axis=1) != test_set.labels)

    wrong = mistakes()
    said = float(re.search(r"test accuracy (.*?)%", ended.out)[1])
    assert said == pytest.approx(100 * (1 - len(wrong) / 120), abs=0.006)
    table = pixels(folder / "mistakes.png")
    assert len(table) == 2 * (-(-min(len(wrong), 100) // 10) * 30 + 2)
    for i, number in enumerate(wrong[:100]):
        shown = cell(table, i // 10, i % 10, 28)
        assert np.array_equal(shown, test_set.images[number, ..., 0])

    model.load_state_dict(training.load(folder / "checkpoint.npz")["model"])
    if backend.name == "numpy":  # on CuPy dropout draws other numbers: so few steps need not tell
        assert not np.array_equal(mistakes(), wrong), "the last weights would pass for them"


@pytest.mark.skipif(
    backend.name != "numpy" or sys.platform != "linux", reason="helpers are forks on Linux"
)
def test_predicts_in_several_processes(classifier, monkeypatch):
    module, test_set, here = small_classify(), data.digits("test", count=120), []
    model = module.load_judge(classifier[0] / "checkpoint.npz")
    alone = module.predict(model, test_set.images)
    forward = Classifier.forward
    monkeypatch.setattr(
        Classifier, "forward", lambda net, x: here.append(len(x)) or forward(net, x)
    )
    monkeypatch.setattr(workers, "THREADS", 2)
    monkeypatch.setattr("tinydiff.team.team.WORTH", 0)
    assert np.array_equal(module.predict(model, test_set.images), alone)
    assert here == [60]


def test_judges_by_the_share_of_pictures_that_look_as_asked(classifier, here):
    folder, _ = classifier
    module = small_classify()
    module.predict = lambda model, drawn: drawn[:, 0, 0, 0] % 10
    images = np.zeros((5, 28, 28, 1), np.uint8)
    images[:, 0, 0, 0] = [3, 3, 4, 8, 8]
    write_drawn(here / "drawn.npz", images, np.array([3, 3, 3, 8, 8]))
    ended = call(module, "--judge", "drawn.npz", "--out", folder.parent)
    assert ended.out.splitlines() == [
        "class 3: 66.7%",
        "class 8: 100.0%",
        "label agreement 80.0% ± 17.1% of 5 pictures",
    ]


def test_judges_its_own_test_set_as_its_own_test_did(classifier, here):
    folder, trained = classifier
    test_set = data.digits("test", count=120)
    write_drawn(here / "drawn.npz", test_set.images, test_set.labels)
    ended = call(small_classify(), "--judge", "drawn.npz", "--out", folder.parent)
    accuracy = float(re.search(r"test accuracy (.*?)%", trained.out)[1])
    assert f"label agreement {accuracy:.1f}%" in ended.out


def test_the_same_command_again_goes_on(classifier, here):
    folder, ended = classifier
    module = small_classify()
    again = call(module, "--epochs", 0.5, "--out", folder.parent)
    assert again.status == 0, again.err
    assert re.search("test accuracy.*", again.out)[0] == re.search("test accuracy.*", ended.out)[0]
    other = call(module, "--epochs", 1, "--out", folder.parent).error()
    assert "steps is 6, was 3" in other


REFUSED = {
    "--epochs 0": "--epochs: '0' is not a finite number above 0",
    "--epochs -1": "--epochs: '-1' is not",
    "--epochs nan": "--epochs: 'nan' is not",
    "--data cats": "--data: invalid choice: 'cats'",
    "--seed -1": "--seed: '-1' is not",
    "--judge good.npz": "runs/classify-digits/checkpoint.npz does not exist: train the classifier",
    "--judge good.npz --out OUT --name damaged": "checkpoint.npz: the file is not a tinydiff",
    "--judge nothing.npz --out OUT": "nothing.npz: No such file or directory",
    "--judge text.npz --out OUT": "text.npz is not a file that examples/sample.py has written",
    "--judge cut.npz --out OUT": "cut.npz is not a file that",
    "--judge arrays.npz --out OUT": "arrays.npz is not a file that",
    "--judge floats.npz --out OUT": "floats.npz is not a file that",
    "--judge short.npz --out OUT": "short.npz is not a file that",
    "--judge unlabelled.npz --out OUT": "unlabelled.npz holds pictures without labels",
    "--judge colour.npz --out OUT": "expected (N, H, W, 1)",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, classifier, here):
    images, labels = np.zeros((4, 28, 28, 1), np.uint8), np.arange(4)
    write_drawn(here / "good.npz", images, labels)
    write_drawn(here / "floats.npz", images / 255, labels)
    write_drawn(here / "short.npz", images, labels[:3])
    write_drawn(here / "unlabelled.npz", images, np.full(4, -1))
    write_drawn(here / "colour.npz", np.zeros((4, 8, 8, 3), np.uint8), labels)
    np.savez(here / "arrays.npz", a=images)
    (here / "cut.npz").write_bytes((here / "good.npz").read_bytes()[:300])
    (here / "text.npz").write_text("hello")
    damaged = classifier[0].parent / "damaged"
    damaged.mkdir(exist_ok=True)
    (damaged / "checkpoint.npz").write_text("hello")
    before = everything_in(here)
    words = [str(classifier[0].parent) if word == "OUT" else word for word in command.split()]
    error = call(small_classify(), *words).error()
    assert error.startswith("classify.py: ")
    assert message in error
    assert everything_in(here) == before


def test_a_diffusion_model_is_not_a_classifier(runs, here):
    write_drawn(here / "good.npz", np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, int))
    options = ("--out", runs.labelled.parent, "--name", runs.labelled.name)
    error = call(small_classify(), "--judge", "good.npz", *options).error()
    assert "is not a classifier's" in error


def test_help_names_what_it_writes():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for name in ("runs/NAME/", "loss.png", "mistakes.png", "log", "checkpoint"):
        assert name in ended.stdout


def test_the_script_itself_refuses(here):
    command = [*SCRIPT, "--judge", "x.npz"]
    wrong = subprocess.run(command, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith(
        "classify.py: runs/classify-digits/checkpoint.npz does not exist"
    )
    assert wrong.stderr.count("\n") == 1


@pytest.mark.slow
def test_learns_the_digits(here):
    """Twice four thousand digits, and it reads three in four of others."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("classify")
    module.DATA["digits"] = functools.partial(module.DATA["digits"], count=4000)
    ended = call(module, "--epochs", 2)
    assert float(re.search(r"test accuracy (.*?)%", ended.out)[1]) > 75
