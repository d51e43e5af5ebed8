"""examples/samplers.py: a picture and a table of all samplers; and what it refuses."""

import numpy as np
import pytest
from example_runs import (
    call,
    everything_in,
    load,
    pixels,
    small_classify,
    small_ddpm,
    with_few_digits,
)

from tinydiff.diffusion import NoiseSchedule
from tinydiff.diffusion.samplers import SAMPLERS

COLUMNS = (4, 7)


def small_samplers():
    """The script with few digits to compare with."""
    return with_few_digits("samplers", 120)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder of a small model and a small classifier, of digits both."""
    out = tmp_path_factory.mktemp("digits")
    for module, options in ((small_ddpm(), ("--steps", 2)), (small_classify(), ("--epochs", 0.5))):
        ended = call(module, "--data", "digits", *options, "--out", out)
        assert ended.status == 0, ended.err
    return out


@pytest.fixture
def compare(digits):
    given = digits / "digits" / "checkpoint.npz"
    return lambda *more: call(small_samplers(), given, "--out", digits, "--count", 10, *more)


def test_a_row_for_each_sampler_and_a_column_for_each_number(compare, digits):
    ended = compare("--evaluations", *COLUMNS)
    assert ended.status == 0, ended.err
    folder = digits / "samplers-digits"
    assert everything_in(folder) == {"samplers.png", "table.txt"}
    first, *rows, real = (folder / "table.txt").read_text().splitlines()
    assert first.split() == ["evaluations", *map(str, COLUMNS)]
    assert [row.split()[0] for row in rows] == list(SAMPLERS)
    assert all(float(number) >= 0 for row in rows for number in row.split()[1:])
    assert real.startswith("training set") and float(real.split()[-1]) >= 0
    assert "\n".join(rows) in ended.out
    pad = 14
    height, width = 2 * 28 + pad, 2 * 28 * 5 + pad
    table = pixels(folder / "samplers.png")
    assert table.shape == ((len(SAMPLERS) + 1) * height + pad, 3 * width + pad, 3)
    cells = [
        table[pad + r * height : (r + 1) * height, pad + c * width : (c + 1) * width]
        for r in range(1, len(SAMPLERS) + 1)
        for c in range(3)
    ]
    assert len(np.unique(np.stack(cells), axis=0)) == len(cells), "no two of them are alike"


def test_the_seed_decides(compare, digits):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = ("--sampler", "ddpm", "--sampler", "heun", "--evaluations", 3)
        assert compare(*options, "--seed", seed, "--name", name).status == 0
    a, b, c = ((digits / name / "samplers.png").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("evaluations", [2, 5, 20])
def test_steps_for_so_many_evaluations(name, evaluations):
    asked, steps = [], load("samplers").steps(name, evaluations)
    denoise = lambda x, t: asked.append(t) or 0.5 * x
    list(SAMPLERS[name](denoise, np.ones((1, 1)), NoiseSchedule.cosine(), steps=steps))
    assert evaluations - 1 <= len(asked) <= evaluations


def test_refuses_in_one_sentence(compare, runs, here):
    assert compare("--evaluations", 1).error().endswith("'1' is not a whole number from 2 on")
    assert "invalid choice: 'rk4'" in compare("--sampler", "rk4").error()
    assert (
        "steps: expected at most T = 1000"
        in compare("--sampler", "ddim", "--evaluations", 1001).error()
    )
    flat = runs.unlabelled / "checkpoint.npz"
    assert "learned from 'flat', expected digits, mnist" in call(small_samplers(), flat).error()
    assert "nothing.npz does not exist" in call(small_samplers(), "nothing.npz").error()
    assert everything_in(here) == set()
