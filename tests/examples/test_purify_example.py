"""examples/purify.py: tuned, attacked in two ways, shown, on a picture of one's own; refusals."""

import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels
from PIL import Image

from tinydiff import data, images

SCRIPT = [sys.executable, str(EXAMPLES / "purify.py")]


def small_purify():
    """examples/purify.py with few digits, few strengths and short attacks."""
    module = load("purify")
    module.DATA = {"digits": lambda split: data.digits(split, count=40)}
    module.STRENGTHS, module.DRAWING = (0.05, 0.9), 2
    module.ALONE, module.ALL = {"steps": 4}, {"steps": 2, "draws": 2}
    module.GREY = (0.1, 0.5)
    return module


@pytest.fixture(scope="module")
def purified(classifiers, digits_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("purified")
    words = "--diffusion", digits_run / "checkpoint.npz", "--count", 12, "--out", out
    ended = call(small_purify(), classifiers[0], *words)
    assert ended.status == 0, ended.err
    return out / "purify-net-0", ended


def test_writes_what_it_promises(purified):
    folder, ended = purified
    assert everything_in(folder) == {"table.txt", "purified.png"}
    assert ended.out.startswith((folder / "table.txt").read_text())


def test_the_strength_is_the_one_that_does_best_on_training_pictures(purified):
    lines = purified[1].out.splitlines()
    assert lines[0].startswith("12 training pictures, half at ε 0.5")
    tried = {line.split()[1]: float(line.split()[-1][:-1]) for line in lines[1:3]}
    assert set(tried) == {"0.05", "0.9"}
    # A model that has hardly learned draws no digits: the less of it the better.
    assert tried["0.05"] > tried["0.9"] and "strength 0.05" in lines[3]


def test_the_table_tells_of_both_attacks_and_both_networks(purified):
    shares = {}
    for line in purified[1].out.splitlines()[4:-1]:
        *_, bare, pure = line.split()
        shares[line[:40].strip()] = float(bare[:-1]), float(pure[:-1])
    none, alone, both, far, far_both = shares.values()
    assert list(shares) == [
        "no attack",
        *(f"attack on {who}, ε {eps}" for eps in (0.1, 0.5) for who in ("the classifier", "both")),
    ]
    assert none[0] > alone[0] and far[0] < 20, "the attack attacks"
    assert both[1] <= none[1] and far_both[1] < none[1]


def test_a_given_strength_is_not_tuned(classifiers, digits_run, tmp_path):
    words = "--diffusion", digits_run / "checkpoint.npz", "--count", 4, "--strength", 0.2
    ended = call(small_purify(), classifiers[0], *words, "--out", tmp_path)
    assert ended.out.startswith("4 test pictures, strength 0.2 "), ended


def test_the_sheet_shows_the_picture_attacked_noised_and_purified(purified):
    table = pixels(purified[0] / "purified.png")
    width, height = 28 * 4 + 8, 28 * 4 + 18 + 8
    assert table.shape == (6 * height + 8, 4 * width + 8, 3)
    test_set = data.digits("test", count=40)
    for i in range(6):
        row = table[8 + i * height : 8 + i * height + 112 : 4, 8::4, 0]
        x, changed, noised, pure = (row[:, k : k + 28] / 255 for k in range(0, 120, 30))
        np.testing.assert_array_equal(x * 255, test_set.images[i, ..., 0])
        far = np.abs(changed - x).max()
        assert 0.4 < far < 0.503
        # So little noise: what it is of, and what was made of it, are near.
        assert 0 < np.abs(noised - changed).mean() < 0.1 and np.abs(pure - changed).mean() < 0.1


def test_purifies_the_users_own_picture(classifiers, digits_run, here):
    (here / "run").mkdir()
    copy = here / "run" / "checkpoint.npz"
    copy.write_bytes(classifiers[0].read_bytes())
    images.save_png(here / "my.png", data.digits("test", count=40).images[0], scale=4)
    words = "--diffusion", digits_run / "checkpoint.npz", "--image", "my.png"
    ended = call(small_purify(), copy, *words)
    assert ended.status == 0, ended.err
    assert everything_in(here / "run") == {"checkpoint.npz", "my-purified.png"}
    assert not (here / "runs").exists()
    assert pixels(here / "run" / "my-purified.png").shape == (112 + 18 + 16, 4 * 120 + 8, 3)


REFUSED = {
    "RUN --count 1": "--count: '1' is not a whole number from 2 on",
    "RUN --strength 0": "--strength: '0' is not a finite number above 0 and at most 1",
    "RUN --diffusion none.npz": "none.npz does not exist: train with examples/ddpm.py first",
    "RUN --diffusion SMALL": "a model of pictures (8, 8, 3), expected (28, 28, 1)",
    "RUN --diffusion RUN": "a checkpoint, but not a diffusion model's",
    "SMALL": "a checkpoint, but not a classifier's",
    "RUN --diffusion DIGITS --image none.png": "none.png: No such file or directory",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(
    command, message, classifiers, digits_run, runs, here
):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    before = everything_in(here)
    places = {
        "RUN": classifiers[0],
        "SMALL": runs.labelled / "checkpoint.npz",
        "DIGITS": digits_run / "checkpoint.npz",
    }
    error = call(small_purify(), *(places.get(word, word) for word in command.split())).error()
    assert error.startswith("purify.py: ") and message in error
    assert everything_in(here) == before


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for word in ("runs/NAME/", "table.txt", "purified.png", "-purified.png", "200", "0.4"):
        assert word in ended.stdout
