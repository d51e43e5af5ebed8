"""examples/planes.py: two planes, a table of distances, one's own pictures; and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels
from PIL import Image

from tinydiff import data, images
from tinydiff.adversarial import classes_seen, distance_to_boundary, on_pictures
from tinydiff.metrics import Recogniser, train_classifier

SCRIPT = [sys.executable, str(EXAMPLES / "planes.py")]


def small_planes():
    """examples/planes.py with few digits, looked at in few places."""
    pytest.importorskip("matplotlib", reason="its pictures need the extra 'plots'")
    module = load("planes")
    module.DATA = {"digits": lambda split: data.digits(split, count=60)}
    module.GRID, module.DRAWS = (9, 7), 10
    return module


@pytest.fixture(scope="module")
def looked(classifiers, tmp_path_factory):
    out = tmp_path_factory.mktemp("planes")
    words = "--other", classifiers[1], "--count", 30, "--sigma", 0.02, "--out", out
    ended = call(small_planes(), classifiers[0], *words)
    assert ended.status == 0, ended.err
    return out / "planes-net-0", ended


def test_writes_what_it_promises(looked):
    folder, ended = looked
    assert everything_in(folder) == {"through.png", "gradient.png", "table.txt"}
    assert ended.out.startswith((folder / "table.txt").read_text())
    for name in ("through.png", "gradient.png"):
        picture = pixels(folder / name)
        assert picture.shape[1] > 800 and len(np.unique(picture.reshape(-1, 4), axis=0)) > 100


def test_the_table_tells_how_far_the_boundary_is(looked, classifiers):
    lines = looked[1].out.splitlines()
    assert lines[0].startswith("30 test pictures") and len(lines) == 4
    some = data.first_of(data.digits("test", count=60), 30)
    x, y = images.to_float(some.images, (0, 1)), some.labels
    for path, line in zip(classifiers, lines[1:3], strict=True):
        name, right, near, far, smoothed = line.split()
        assert name == path.parent.name
        model = on_pictures(Recogniser.load(path).model)
        assert int(right) <= (classes_seen(model, x) == y).sum()
        distance = distance_to_boundary(model, x, y)
        known = np.isfinite(distance) & (distance > 0)
        assert float(near) == pytest.approx(distance[known].mean(), rel=0.3)
        assert float(near) < float(far) and float(smoothed) == pytest.approx(float(far), rel=0.3)


def test_the_three_pictures_lie_in_the_first_plane_and_the_view_holds_them(classifiers, rng):
    module = small_planes()
    model = on_pictures(Recogniser.load(classifiers[0]).model)
    three = images.to_float(data.digits("test", count=60).images[:3], (0, 1))
    (name, plane, view), (other, along, square) = module.planes(model, three, 0)
    assert (name, other) == ("through", "gradient")
    at = plane.coordinates(three)
    np.testing.assert_allclose(plane.pictures(at), three, atol=1e-6)
    assert (at > view[:, 0]).all() and (at < view[:, 1]).all()
    np.testing.assert_allclose(along.coordinates(three[:1]), 0, atol=1e-12)
    np.testing.assert_array_equal(square[:, 0], -square[:, 1])


def test_looks_at_the_users_own_pictures(classifiers, here):
    for i in range(3):
        images.save_png(here / f"{i}.png", data.digits("test", count=60).images[i], scale=3)
    words = "--image", "0.png", "1.png", "2.png", "--count", 10, "--name", "mine"
    ended = call(small_planes(), classifiers[0], *words)
    assert ended.status == 0, ended.err
    made = {"through.png", "gradient.png", "table.txt"}
    assert everything_in(here / "runs" / "mine") == made


REFUSED = {
    "RUN --count 9": "--count: '9' is not a whole number from 10 on",
    "RUN --sigma 0": "--sigma: '0' is not a finite number above 0",
    "RUN --image a.png b.png": "--image: expected 3 arguments",
    "RUN --image none.png none.png none.png": "none.png: No such file or directory",
    "RUN --image good.png good.png good.png": "first and second: expected two directions",
    "RUN --other none.npz": "none.npz does not exist",
    "none.npz": "none.npz does not exist: train with examples/classify.py first",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, classifiers, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    before = everything_in(here)
    words = [str(classifiers[0]) if word == "RUN" else word for word in command.split()]
    error = call(small_planes(), *words).error()
    assert error.startswith("planes.py: ") and message in error
    assert everything_in(here) == before


def test_a_folder_of_more_classes_than_colours(here):
    for c in range(12):
        for i in range(10):
            picture = np.full((8, 8), 15 * c + i, np.uint8)
            picture[:, : c % 8] = 200
            images.save_png(here / "mine" / f"class-{c:02}" / f"{i}.png", picture)
    settings = {"kind": "plain", "epochs": 2.0, "batch_size": 20, "lr": 0.02, "widths": (8, 8)}
    train_classifier(data.image_folder("mine", 8), here / "net", seed=0, **settings)
    three = [f"mine/class-{c}/0.png" for c in ("00", "10", "11")]
    command = here / "net" / "checkpoint.npz", "--data", "mine", "--count", 12
    ended = call(small_planes(), *command, "--image", *three)
    assert ended.status == 0, ended.err
    assert len(everything_in(here / "runs" / "planes-net")) == 3


def test_planes_through_pictures_of_classes_that_it_knows(classifiers, here, monkeypatch):
    module = small_planes()
    monkeypatch.setattr(module, "classes_seen", lambda model, x: np.zeros(len(x), int))
    error = call(module, classifiers[0], "--count", 20).error()
    assert "--count 20: fewer than three classes are seen rightly" in error
    assert everything_in(here) == set()


def test_a_network_of_other_classes_is_no_other(classifiers, pictures, here):
    settings = {"kind": "plain", "epochs": 1.0, "batch_size": 4, "lr": 0.01, "widths": (8, 8)}
    train_classifier(data.image_folder(pictures / "classes", 8), here / "small", seed=0, **settings)
    other = here / "small" / "checkpoint.npz"
    error = call(small_planes(), classifiers[0], "--other", other).error()
    assert "expected those of" in error


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for word in ("runs/NAME/", "through.png", "gradient.png", "table.txt", "0.25", "100"):
        assert word in ended.stdout
