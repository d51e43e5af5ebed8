"""examples/landscape.py: its sheet and table, no training twice, the same seed, what it refuses."""

import numpy as np
import pytest
from example_runs import call, everything_in, load, pixels

import tinydiff as td
from tinydiff.training import read_log

MODELS = ("vae", "gan", "energy", "autoregressive", "flow", "diffusion")
RUN = {"checkpoint.npz", "log.jsonl", "measured.npz"}


def small_landscape():
    """examples/landscape.py with few digits, few steps and short walks"""
    pytest.importorskip("matplotlib", reason="its sheet needs the extra 'plots'")
    module = load("landscape")
    digits = module.DATA["digits"]
    module.DATA = {"digits": lambda split: digits(split, 60)}
    module.POINTS, module.TESTED = 40, 6
    module.RECIPES = {kind: ((16, 1e-3, 4), (4, 1e-3, 2)) for kind in module.RECIPES}
    build = module.BUILD

    def quick(kind):
        def make(shape):
            model = build[kind](shape)
            if kind in ("energy", "diffusion"):
                model.evaluations = 3
            return model

        return make

    module.BUILD = {kind: quick(kind) for kind in build}
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("landscape")
    ended = call(small_landscape(), "--out", out)
    assert ended.status == 0, ended.err
    return out / "landscape", ended


def test_writes_what_it_promises(run):
    folder, ended = run
    runs = {
        f"{name}-{kind}/{file}" for name in ("moons", "digits") for kind in MODELS for file in RUN
    }
    folders = {f"{name}-{kind}" for name in ("moons", "digits") for kind in MODELS}
    assert everything_in(folder) == runs | folders | {"landscape.png", "table.txt"}
    height, width, _ = pixels(folder / "landscape.png").shape
    assert height == 2 * 7 * 120 and width == 13 * 120
    for name in ("landscape.png", "table.txt"):
        assert name in ended.out


def test_the_table_has_a_line_for_each(run):
    folder, ended = run
    table = (folder / "table.txt").read_text()
    assert table in ended.out
    head, truth, *lines = table.splitlines()
    assert head.split() == ["model", "data", "bits/dim", "minutes", "parameters", "evaluations"]
    best = float(truth.split()[-1])
    assert 6 < best < 7.5, "two moons: about 14 of 16 bits for both coordinates"
    assert [line.split()[:2] for line in lines] == [
        [kind, name] for kind in MODELS for name in ("moons", "digits")
    ]
    kinds = {tuple(line.split()[:2]): line for line in lines}
    assert "exact" in kinds["energy", "moons"] and "no likelihood" in kinds["energy", "digits"]
    assert "bound" in kinds["vae", "digits"] and "no likelihood" in kinds["gan", "moons"]
    assert kinds["autoregressive", "digits"].split()[-1] == "256"
    assert kinds["autoregressive", "moons"].split()[-1] == "2"


def test_the_second_time_nothing_is_trained_or_drawn(run):
    folder, first = run
    module = small_landscape()
    module.train = module.measured = None
    again = call(module, "--out", folder.parent)
    assert again.status == 0, again.err
    assert again.out == first.out[first.out.index("model ") :]


def test_what_is_measured_is_of_the_run(run):
    folder, _ = run
    found = td.load(folder / "digits-vae" / "measured.npz")
    assert found["settings"] == {
        "model": "vae", "data": "digits", "batch": 4, "lr": 1e-3, "steps": 2, "seed": 0,
    }  # fmt: skip
    assert found["samples"].shape == (20, 16, 16, 1) and found["samples"].dtype == np.uint8
    log = read_log(folder / "digits-vae" / "log.jsonl")
    assert found["minutes"] == pytest.approx(sum(4 / r["images_per_second"] for r in log) / 60)


def test_same_seed_same_pictures_another_seed_others(run, tmp_path):
    folder, _ = run
    options = ("--models", "gan", "flow", "--out")
    assert call(small_landscape(), *options, tmp_path / "same").status == 0
    assert call(small_landscape(), *options, tmp_path / "other", "--seed", 1).status == 0
    for kind in ("gan", "flow"):
        samples = [
            td.load(place / f"digits-{kind}" / "measured.npz")["samples"]
            for place in (folder, tmp_path / "same/landscape", tmp_path / "other/landscape")
        ]
        np.testing.assert_array_equal(samples[0], samples[1])
        assert (samples[0] != samples[2]).any()


def test_effort_is_a_share_of_the_steps(tmp_path):
    ended = call(small_landscape(), "--models", "vae", "--effort", 0.5, "--out", tmp_path)
    assert ended.status == 0, ended.err
    lengths = [
        len(read_log(tmp_path / f"landscape/{n}-vae/log.jsonl")) for n in ("moons", "digits")
    ]
    assert lengths == [2, 1]


def test_another_seed_in_the_same_folder_is_refused(run):
    folder, _ = run
    ended = call(small_landscape(), "--seed", 1, "--models", "vae", "--out", folder.parent)
    assert "holds a run with other settings: seed is 1, was 0" in ended.error()


def test_pictures_are_halved_with_their_brightness():
    module = load("landscape")
    whole = module.data.digits("test", 20)
    small = module.halved("digits", whole)
    assert small.images.shape == (20, 16, 16, 1)
    np.testing.assert_allclose(4 * small.images.sum(), whole.images.sum(), rtol=0.01)
    np.testing.assert_array_equal(
        small.images[3, 5, 7, 0], np.rint(whole.images[3, 8:10, 12:14].mean())
    )
