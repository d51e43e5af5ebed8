"""examples/neighbours.py: shares of neighbours of the right class, their picture; refusals."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, pixels, small_classify, with_few_digits
from PIL import Image

from tinydiff import data, metrics

SCRIPT = [sys.executable, str(EXAMPLES / "neighbours.py")]
CELL = 28 * 3 + 6 + 4  # pixels from one picture to the next


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    out = tmp_path_factory.mktemp("neighbours")
    ended = call(small_classify(), "--epochs", 2, "--out", out)
    assert ended.status == 0, ended.err
    return out / "resnet-digits" / "checkpoint.npz"


def neighbours(*options):
    return call(with_few_digits("neighbours", 120), *options)


def by_pairs(queries, points):
    """The five nearest, every pair by itself."""
    queries, points = (x.reshape(len(x), -1).astype(float) for x in (queries, points))
    return np.array([np.argsort(np.linalg.norm(points - q, axis=1))[:5] for q in queries])


def test_counts_and_draws_the_nearest(checkpoint, here):
    ended = neighbours(checkpoint, "--count", 40)
    assert ended.status == 0, ended.err
    folder = here / "runs" / "neighbours-resnet-digits"
    assert everything_in(folder) == {"neighbours.png"}
    known, test = data.digits("train", count=120), data.digits("test", count=120)
    chosen = np.random.default_rng(0).permutation(120)[:40]
    queries, labels = test.images[chosen], test.labels[chosen]
    model = metrics.Recogniser.load(checkpoint).model
    found = {
        "pixels": by_pairs(queries, known.images),
        "features": by_pairs(
            metrics.features(model, queries), metrics.features(model, known.images)
        ),
    }
    for space, indices in found.items():
        said = re.search(rf"^{space} +(\S+)% ± (\S+)%$", ended.out, re.MULTILINE)
        right = (known.labels[indices] == labels[:, None]).mean(axis=1)
        assert float(said[1]) == pytest.approx(100 * right.mean(), abs=0.06)
        assert float(said[2]) == pytest.approx(100 * right.std() / 40**0.5, abs=0.06)

    table = pixels(folder / "neighbours.png")
    classes, rows = np.unique(labels, return_index=True)
    table = table[-(len(classes) * CELL + 4) :, -(13 * CELL + 4) :]
    for i, row in enumerate(rows):
        cells = [table[4 + i * CELL :, 4 + j * CELL :][: CELL - 4, : CELL - 4] for j in range(13)]
        for column, picture in (
            (0, queries[row]),
            *(
                (first + n, known.images[index])
                for first, indices in zip((2, 8), found.values(), strict=True)
                for n, index in enumerate(indices[row])
            ),
        ):
            assert np.array_equal(cells[column][3:-3:3, 3:-3:3, 0], picture[..., 0])
        for first, indices in zip((2, 8), found.values(), strict=True):
            for n, index in enumerate(indices[row]):
                wrong = known.labels[index] != labels[row]
                assert cells[first + n][0, 0].tolist() == ([255, 60, 60] if wrong else [0, 0, 0])


def test_the_same_seed_the_same_pictures(checkpoint, here):
    ended = [neighbours(checkpoint, "--count", 20, "--seed", seed) for seed in (1, 1, 2)]
    assert ended[0].out == ended[1].out != ended[2].out


def test_neighbours_of_ones_own_picture(checkpoint, here):
    digit = data.digits("train", count=120)
    Image.fromarray(digit.images[7].repeat(2, axis=0).repeat(2, axis=1)[..., 0]).save("my.png")
    ended = neighbours(checkpoint, "--image", "my.png", "--name", "own")
    assert ended.status == 0, ended.err
    label = digit.classes[digit.labels[7]]
    for space in ("pixels", "features"):
        assert re.search(rf"^{space}: {label}(, \d){{4}}$", ended.out, re.MULTILINE), ended.out
    assert everything_in(here / "runs") == {"own", "own/neighbours.png"}


REFUSED = {
    "none.npz": "none.npz does not exist: train with examples/classify.py first",
    "text.npz": "text.npz: the file is not a tinydiff checkpoint",
    "RUN --count 0": "--count: '0' is not a whole number from 1 on",
    "RUN --seed -1": "--seed: '-1' is not",
    "RUN --data cats": "--data is 'cats', expected digits, mnist",
    "RUN --image none.png": "none.png: No such file or directory",
    "RUN --image text.npz": "text.npz is not a picture that can be read",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, checkpoint, here):
    (here / "text.npz").write_text("hello")
    error = neighbours(*command.replace("RUN", str(checkpoint)).split()).error()
    assert error.startswith("neighbours.py: ")
    assert message in error
    assert everything_in(here) == {"text.npz"}


def test_refuses_pictures_of_other_classes(checkpoint, pictures, here):
    for name in ("cats", "dogs"):
        (here / "pets" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (30, 30), (i, 0, 0)).save(here / "pets" / name / f"{i}.png")
    error = neighbours(checkpoint, "--data", "pets").error()
    assert "does not fit the model, which knows pictures (28, 28, 1) of 10 classes" in error


def test_a_diffusion_model_is_no_classifier(runs, here):
    error = neighbours(runs.labelled / "checkpoint.npz").error()
    assert "a checkpoint, but not a classifier's" in error


def test_help_says_what_is_written():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for name in ("runs/NAME/", "neighbours.png", "neighbours-RUN"):
        assert name in ended.stdout
