"""examples/boundary.py: a picture and lines of the table for each set of points; its refusals."""

import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels

import tinydiff as td
from tinydiff.adversarial import Map, classes_seen

SCRIPT = [sys.executable, str(EXAMPLES / "boundary.py")]
WAYS = "as ever", "noise", "attacks", "small slope"


def small_boundary():
    """examples/boundary.py with small networks, looked at in few places."""
    pytest.importorskip("matplotlib", reason="its pictures need the extra 'plots'")
    module = load("boundary")
    module.WIDTH, module.GRID, module.DRAWS = 8, (13, 9), 20
    return module


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("boundary")
    ended = call(small_boundary(), "--points", 24, "--steps", 30, "--out", out)
    assert ended.status == 0, ended.err
    return out / "boundary", ended


def test_writes_what_it_promises(drawn):
    folder, ended = drawn
    names = {"moons.png", "spirals.png", "blobs.png"}
    assert everything_in(folder) == names | {"table.txt"}
    assert ended.out.startswith((folder / "table.txt").read_text())
    for name in names:
        assert pixels(folder / name).shape[1] > 1000


def test_the_table_has_a_line_for_each_network(drawn):
    lines = drawn[1].out.splitlines()
    assert [lines[i].split(",")[0] for i in (0, 5, 10)] == ["moons", "spirals", "blobs"]
    for first in (0, 5, 10):
        for way, line in zip(WAYS, lines[first + 1 : first + 5], strict=True):
            assert line.startswith(f"  {way}")
            right, smoothed, far, farther = line[32:].split()
            assert all(25 < float(share[:-1]) <= 100 for share in (right, smoothed)), line
            assert 0 <= float(far) < 1 and 0 <= float(farther) < 1, line


def test_the_same_seed_draws_the_same_picture_and_another_another(drawn, tmp_path):
    pictures = []
    for seed in (0, 1):
        words = "--points", 24, "--steps", 30, "--only", "moons", "--seed", seed
        ended = call(small_boundary(), *words, "--out", tmp_path / str(seed))
        assert ended.status == 0, ended.err
        assert everything_in(tmp_path / str(seed) / "boundary") == {"moons.png", "table.txt"}
        pictures.append(pixels(tmp_path / str(seed) / "boundary" / "moons.png"))
    np.testing.assert_array_equal(pictures[0], pixels(drawn[0] / "moons.png"))
    assert not np.array_equal(*pictures)


@pytest.mark.parametrize("name", ["moons", "spirals", "blobs"])
def test_points_lie_in_the_square_and_the_networks_learn_them(name):
    module = load("boundary")
    make, spread, _ = module.TOYS[name]
    rng = np.random.default_rng(0)
    x, y = make(200, rng)
    x = x + spread * rng.standard_normal(x.shape)
    assert ((x > 0) & (x < 1)).mean() > 0.99 and len(set(y)) in (2, 4)
    x = np.clip(x, 0, 1)
    args = type("Args", (), {"seed": 0, "steps": 150})
    model = module.learned(module.ways_to_learn(0.05)["as ever"], x, y, args)
    assert (classes_seen(model, module.pictures(x)) == y).mean() > 0.85


def test_the_mean_way_is_that_of_the_points(monkeypatch):
    """On a map of two halves it is known."""
    module, u = small_boundary(), np.linspace(0, 1, 101)
    shares = np.zeros((101, 101, 2))
    shares[:, :50, 0] = shares[:, 50:, 1] = 1
    figure = td.plots.new_figure(2, 2)
    x, y = np.array([[0.2, 0.5], [0.9, 0.1], [0.8, 0.8]]), np.array([0, 1, 0])
    found = Map(u, u, shares, np.ones((101, 101), bool))
    assert module.draw(figure.subplots(), found, x, y) == pytest.approx((0.3 + 0.41 + 0) / 3)


REFUSED = {
    "--points 7": "--points: '7' is not a whole number from 8 on",
    "--steps 0": "--steps: '0' is not",
    "--sigma 0": "--sigma: '0' is not a finite number above 0",
    "--only circles": "invalid choice: 'circles'",
    "--seed -1": "--seed: '-1' is not",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, here):
    error = call(small_boundary(), *command.split()).error()
    assert error.startswith("boundary.py: ") and message in error
    assert everything_in(here) == set()


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for word in ("runs/boundary/", "moons.png", "spirals.png", "blobs.png", "table.txt", "120"):
        assert word in ended.stdout
