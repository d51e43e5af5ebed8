"""examples/samplers.py: a picture and a table of all samplers; and what it refuses."""

import types

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

from tinydiff import metrics
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
    return lambda *more: call(small_samplers(), given, "--out", digits, "--count", 40, *more)


def test_a_row_for_each_sampler_and_a_column_for_each_number(compare, digits):
    ended = compare("--evaluations", *COLUMNS)
    assert ended.status == 0, ended.err
    folder = digits / "samplers-digits"
    assert everything_in(folder) == {"samplers.png", "table.txt"}
    first, *rows, real = (folder / "table.txt").read_text().splitlines()
    assert first.split() == ["evaluations", *map(str, COLUMNS)]
    assert [row.split()[0] for row in rows] == list(SAMPLERS)
    for row in rows:
        _, *cells = row.split()
        assert cells[1::3] == ["±"] * len(COLUMNS)
        values, errors = np.reshape(cells, (-1, 3))[:, ::2].T.astype(float)
        assert np.all(np.isfinite(values)) and np.all(errors >= 0)
    assert real.startswith("training set") and float(real.split()[-1]) >= 0
    assert "\n".join(rows) in ended.out
    pad = 14
    height, width = 2 * 28 + pad, 2 * 28 * 5 + pad
    whole = pixels(folder / "samplers.png")
    table = whole[-len(SAMPLERS) * height - pad :, -len(COLUMNS) * width - pad :]
    assert table.shape[0] < whole.shape[0] and table.shape[1] < whole.shape[1], "captions"
    cells = [
        table[pad + r * height : (r + 1) * height, pad + c * width : (c + 1) * width]
        for r in range(len(SAMPLERS))
        for c in range(len(COLUMNS))
    ]
    assert len(np.unique(np.stack(cells), axis=0)) == len(cells), "no two of them are alike"


def test_distances_are_unbiased_and_told_the_classes(digits):
    module, labels = small_samplers(), np.arange(40) % 10
    module.draw = lambda *given: np.broadcast_to(
        labels.astype(np.uint8)[:, None, None, None], (40, 28, 28, 1)
    )
    measured = []

    def distance(pictures, real, labels):
        measured.append((pictures, real, *labels))
        return metrics.Estimate(1.25, 0.5)

    small = {"features": lambda judge, pictures: pictures, "unbiased_frechet_distance": distance}
    module.metrics = types.SimpleNamespace(**vars(metrics) | small)
    options = ("--sampler", "ddpm", "--evaluations", 3, "--count", 40, "--name", "told")
    ended = call(module, digits / "digits" / "checkpoint.npz", "--out", digits, *options)
    assert "\nddpm                     1.250 ± 0.500\n" in ended.out, ended
    (drawn, real, classes, theirs), _ = measured
    assert np.array_equal(drawn[:, 0, 0, 0], labels) and np.array_equal(classes, labels)
    assert real.shape[1:] == (28, 28, 1) and len(real) == len(theirs) >= 40


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
    late = compare("--sampler", "ddim", "--evaluations", 5, 1001)
    assert "--evaluations: expected at most T = 1000" in late.error()
    assert late.err.count("\n") == 1, "no bar: nothing was begun"
    flat = runs.unlabelled / "checkpoint.npz"
    assert "learned from 'flat', expected digits, mnist" in call(small_samplers(), flat).error()
    assert "nothing.npz does not exist" in call(small_samplers(), "nothing.npz").error()
    assert everything_in(here) == set()
