"""examples/classify.py: trains, shows its mistakes, judges what was drawn; and what it refuses."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels, small_classify, write_pictures
from PIL import Image

from tinydiff import backend, data, training
from tinydiff.files import replacing
from tinydiff.kernels import workers
from tinydiff.metrics import Recogniser, load_judge
from tinydiff.models import Classifier

FILES = {"loss.png", "mistakes.png", "confusion.png", "log.jsonl", "checkpoint.npz"}
PLAIN = ("--model", "plain", "--epochs", 0.5)  # the recipe of the judge of grey pictures
SCRIPT = [sys.executable, str(EXAMPLES / "classify.py")]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The folder of a classifier that has hardly learned, and what training it said."""
    out = tmp_path_factory.mktemp("classifier")
    ended = call(small_classify(), *PLAIN, "--out", out)
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
    assert pixels(folder / "mistakes.png").shape[1] == 10 * (3 * 28 + 6) + 6
    assert pixels(folder / "confusion.png").shape[0] > 480
    for name in ("loss.png", "mistakes.png", "confusion.png"):
        assert name in ended.out


def test_counts_and_shows_the_mistakes_of_the_averaged_weights(classifier):
    folder, ended = classifier
    test_set = data.digits("test", count=120)
    model = load_judge(folder / "checkpoint.npz").eval()

    def mistakes():
        logits = model(2 * test_set.images.astype(np.float32) / 255 - 1).numpy()
        return np.flatnonzero(logits.argmax(axis=1) != test_set.labels)

    wrong = mistakes()
    said = float(re.search(r"test accuracy (.*?)%", ended.out)[1])
    assert said == pytest.approx(100 * (1 - len(wrong) / 120), abs=0.006)
    table, caption = pixels(folder / "mistakes.png"), 18
    height, width = 84 + caption + 6, 84 + 6
    assert len(table) == -(-min(len(wrong), 60) // 10) * height + 6
    for i, number in enumerate(wrong[:60]):
        cell = table[6 + i // 10 * height :, 6 + i % 10 * width :][: 84 + caption, :84]
        assert np.array_equal(cell[:84:3, ::3, 0], test_set.images[number, ..., 0])
        assert cell[84:].max() > 150, "nothing is said of it"

    model.load_state_dict(training.load(folder / "checkpoint.npz")["model"])
    if backend.name == "numpy":  # on CuPy dropout draws other numbers: so few steps need not tell
        assert not np.array_equal(mistakes(), wrong), "the last weights would pass for them"


@pytest.mark.skipif(
    backend.name != "numpy" or sys.platform != "linux", reason="helpers are forks on Linux"
)
def test_predicts_in_several_processes(classifier, monkeypatch):
    module, test_set, here = small_classify(), data.digits("test", count=120), []
    model = load_judge(classifier[0] / "checkpoint.npz")
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
    again = call(module, *PLAIN, "--out", folder.parent)
    assert again.status == 0, again.err
    assert re.search("test accuracy.*", again.out)[0] == re.search("test accuracy.*", ended.out)[0]
    other = call(module, *PLAIN[:2], "--epochs", 1, "--out", folder.parent).error()
    assert "steps is 6, was 3" in other


def test_a_judge_that_is_not_there_is_trained(here):
    """By its recipe, whatever --model is."""
    test_set = data.digits("test", count=120)
    write_drawn(here / "drawn.npz", test_set.images, test_set.labels)
    ended = call(small_classify(), "--judge", "drawn.npz")
    assert ended.status == 0, ended.err
    assert "There is no judge in runs/classify-digits yet" in ended.out
    settings = training.load(here / "runs" / "classify-digits" / "checkpoint.npz")["settings"]
    assert settings["kind"] == "plain"


@pytest.mark.parametrize("model", ["resnet", "vgg"])
def test_other_networks_and_pictures_of_ones_own(model, here):
    """In colour, where the residual one is the judge; a tenth is held out."""
    for name, brightness in (("cats", 120), ("dogs", 250)):
        write_pictures(here / "pets" / name, 20, brightness)
    ended = call(small_classify(), "--data", "pets", "--size", 8, "--model", model)
    assert ended.status == 0, ended.err
    folder = here / "runs" / {"resnet": "classify-pets", "vgg": "vgg-pets"}[model]
    assert "36 images" in ended.out and re.search(r"test accuracy .*% of 4", ended.out)
    assert {"loss.png", "checkpoint.npz", "confusion.png"} <= everything_in(folder)
    recogniser = Recogniser.load(folder / "checkpoint.npz")
    assert recogniser.classes == ("cats", "dogs") and recogniser.image == (8, 8, 3)
    assert recogniser.settings["kind"] == model
    assert recogniser.settings["recipe"]["flip"] and recogniser.settings["recipe"]["shift"] == 1


def test_says_what_it_sees_in_a_picture(classifier, here):
    folder, _ = classifier
    picture = data.digits("test", count=1).images[0].repeat(3, axis=0).repeat(3, axis=1)
    Image.fromarray(255 - picture[..., 0]).save(here / "my.png")  # ink on paper
    ended = call(small_classify(), "--checkpoint", folder / "checkpoint.npz", "--image", "my.png")
    assert ended.status == 0, ended.err
    recogniser = Recogniser.load(folder / "checkpoint.npz")
    (likely,) = recogniser(recogniser.read(here / "my.png")[None])
    order = np.argsort(-likely)
    assert ended.out.splitlines() == [f"{likely[c]:6.1%} {c}" for c in order]
    assert everything_in(here) == {"my.png"}


REFUSED = {
    "--epochs 0": "--epochs: '0' is not a finite number above 0",
    "--epochs -1": "--epochs: '-1' is not",
    "--epochs nan": "--epochs: 'nan' is not",
    "--data cats": "--data is 'cats', expected digits, mnist, fashion-mnist, shapes, cifar10",
    "--model lstm": "--model: invalid choice: 'lstm'",
    "--size 7": "--size: '7' is not a whole number from 8 on",
    "--seed -1": "--seed: '-1' is not",
    "--judge good.npz --out OUT --name damaged": "checkpoint.npz: the file is not a tinydiff",
    "--judge nothing.npz --out OUT": "nothing.npz: No such file or directory",
    "--judge text.npz --out OUT": "text.npz is not a file that examples/sample.py has written",
    "--judge cut.npz --out OUT": "cut.npz is not a file that",
    "--judge arrays.npz --out OUT": "arrays.npz is not a file that",
    "--judge floats.npz --out OUT": "floats.npz is not a file that",
    "--judge short.npz --out OUT": "short.npz is not a file that",
    "--judge unlabelled.npz --out OUT": "unlabelled.npz holds pictures without labels",
    "--judge colour.npz --out OUT": "pictures of (8, 8, 3), those of digits-train are (28, 28, 1)",
    "--image good.png": "--image and --checkpoint belong together",
    "--checkpoint RUN/checkpoint.npz": "--image and --checkpoint belong together",
    "--checkpoint none.npz --image good.png": "none.npz does not exist: train with examples/class",
    "--checkpoint text.npz --image good.png": "text.npz: the file is not a tinydiff checkpoint",
    "--checkpoint RUN/checkpoint.npz --image none.png": "none.png: No such file or directory",
    "--checkpoint RUN/checkpoint.npz --image text.npz": "text.npz is not a picture that can be",
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
    Image.new("RGB", (64, 64)).save(here / "good.png")
    places = {"OUT": classifier[0].parent, "RUN": classifier[0]}
    words = [str(Path(*(places.get(p, p) for p in word.split("/")))) for word in command.split()]
    before = everything_in(here)
    error = call(small_classify(), *words).error()
    assert error.startswith("classify.py: ")
    assert message in error
    assert everything_in(here) == before


def test_a_diffusion_model_is_not_a_classifier(runs, here):
    write_drawn(here / "good.npz", np.zeros((1, 28, 28, 1), np.uint8), np.zeros(1, int))
    options = ("--out", runs.labelled.parent, "--name", runs.labelled.name)
    error = call(small_classify(), "--judge", "good.npz", *options).error()
    assert "not a classifier's" in error


def test_help_names_what_it_writes():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    files = ("loss.png", "mistakes.png", "confusion.png", "log", "checkpoint")
    for name in ("runs/NAME/", "MODEL-DATA", *files):
        assert name in ended.stdout


def test_the_script_itself_refuses(here):
    command = [*SCRIPT, "--checkpoint", "none.npz", "--image", "x.png"]
    wrong = subprocess.run(command, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("classify.py: none.npz does not exist")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.slow
def test_learns_the_digits(here):
    """Twice four thousand digits, and it reads three in four of others."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("classify")
    few = functools.partial(module.DATA["digits"], count=4000)
    module.DATA = {**module.DATA, "digits": few}
    ended = call(module, "--epochs", 3)
    assert float(re.search(r"test accuracy (.*?)%", ended.out)[1]) > 75
