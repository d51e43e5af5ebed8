"""examples/forward_process.py: its pictures, the films they show, and the seed."""

import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels
from PIL import Image

from tinydiff.diffusion import NoiseSchedule

FAST = ("--steps", 50, "--points", 300)


@pytest.fixture
def module():
    """With two frames a film."""
    pytest.importorskip("matplotlib", reason="its pictures need the extra 'plots'")
    module = load("forward_process")
    module.moments = lambda T, count: np.array([0, T])
    return module


def test_writes_pictures_and_films(module, here):
    ended = call(module, *FAST)
    assert ended.status == 0, ended.err
    folder = here / "runs" / "forward-process"
    assert everything_in(folder) == {"line.png", "line.gif", "plane.png", "plane.gif"}
    assert pixels(folder / "line.png").shape[:2] == (600, 1800)
    assert pixels(folder / "plane.png").shape[:2] == (960, 1800)
    for name in ("line", "plane"):
        with Image.open(folder / f"{name}.gif") as film:
            assert film.n_frames == 4
            assert film.size == (405, 378)
    first = {name: (folder / name).read_bytes() for name in everything_in(folder)}
    call(module, *FAST, "--out", "again")
    for name, content in first.items():
        assert (here / "again" / "forward-process" / name).read_bytes() == content


def test_the_films_begin_and_end_where_they_should(module):
    schedule, rng = NoiseSchedule.linear(200, 5e-4, 0.1), np.random.default_rng(0)
    there, ddpm, ddim = module.films(module.LINE, schedule, 4000, rng, "test")
    for film in (there, ddpm, ddim):
        assert film.shape == (201, 4000, 1)
        # Every frame has the spread of its exact density; DDPM's steps draw a little tight.
        for frame in (0, 1, 20, 100, 200):
            grid = np.linspace(-6, 6, 2001)[:, None]
            density = module.density(module.LINE, grid, schedule, frame)
            width = grid[1, 0] - grid[0, 0]
            assert density.sum() * width == pytest.approx(1, abs=1e-3)
            mean = (density * grid[:, 0]).sum() * width
            spread = np.sqrt((density * (grid[:, 0] - mean) ** 2).sum() * width)
            assert film[frame].mean() == pytest.approx(mean, abs=0.08)
            assert film[frame].std() == pytest.approx(spread, rel=0.05)
    one, other = (
        module.films(module.LINE, schedule, 200, np.random.default_rng(s), "")[0] for s in (0, 1)
    )
    assert not np.array_equal(one, other)
    # Noise makes paths rough; the ODE's are smooth.
    rough, smooth = (np.abs(np.diff(film, 2, axis=0)).mean() for film in (ddpm, ddim))
    assert rough > 50 * smooth


def test_moments():
    module = load("forward_process")
    chosen = module.moments(1000, 32)
    assert chosen[0] == 0 and chosen[-1] == 1000 and np.all(np.diff(chosen) > 0)
    assert (chosen < 300).sum() > len(chosen) / 2


def test_what_stands_over_a_frame():
    texts = [load("forward_process").moment(frame) for frame in (0, 1, 2)]
    assert texts == ["data", "1 step of noise", "2 steps of noise"]


def test_interrupted_while_it_draws_it_leaves_nothing(module, here, monkeypatch):
    def interrupted(*given, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", interrupted)
    ended = call(module, *FAST)
    assert ended.status == 130 and ended.error() == "forward_process.py: interrupted"
    assert everything_in(here) == set()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--steps", 49), "--steps: '49' is not a whole number from 50 on"),
        (("--points", 1), "--points: '1' is not"),
        (("--seed", -1), "--seed: '-1' is not"),
    ],
)
def test_refuses(option, message, module, here):
    assert message in call(module, *option).error()
    assert everything_in(here) == set()


def test_help():
    script = [sys.executable, str(EXAMPLES / "forward_process.py"), "--help"]
    shown = subprocess.run(script, capture_output=True, text=True)
    assert shown.returncode == 0
    for word in ("line.png", "line.gif", "plane.png", "plane.gif", "--points"):
        assert word in shown.stdout
