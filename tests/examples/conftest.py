"""Pictures to learn from, and models that have learned a little."""

import dataclasses
from pathlib import Path

import pytest
from example_runs import (
    DETECT_FEW,
    SIZE,
    STEPS,
    Ended,
    call,
    small_classify,
    small_ddpm,
    small_detect,
    write_pictures,
)

import tinydiff as td
from tinydiff import data
from tinydiff.metrics import train_classifier


@dataclasses.dataclass
class Runs:
    """The folders of two trained models: tests read them, and do not write to them."""

    labelled: Path
    unlabelled: Path
    ended: Ended  # of the labelled one


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of folders: classes/cats, classes/dogs, and flat, without classes."""
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root / "classes" / "cats", 5, 120)
    write_pictures(root / "classes" / "dogs", 6, 250)
    write_pictures(root / "flat", 9, 200)
    return root


@pytest.fixture(scope="session")
def runs(pictures, tmp_path_factory) -> Runs:
    out = tmp_path_factory.mktemp("runs")
    options = ("--size", SIZE, "--steps", STEPS, "--out", out)
    ended = [call(small_ddpm(), "--data", pictures / n, *options) for n in ("classes", "flat")]
    assert [e.status for e in ended] == [0, 0], ended
    return Runs(out / "classes", out / "flat", ended[0])


@pytest.fixture(scope="session")
def detector(tmp_path_factory) -> tuple[Path, Ended]:
    """The folder of a detector that has hardly learned, and what training it said."""
    out = tmp_path_factory.mktemp("detector")
    ended = call(small_detect(), *DETECT_FEW, "--out", out)
    assert ended.status == 0, ended.err
    return out / "detect", ended


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> dict[str, Path]:
    """By the name of the network, a checkpoint of digits that has hardly learned."""
    out = tmp_path_factory.mktemp("networks")
    for model in ("vgg", "resnet"):
        ended = call(small_classify(), "--model", model, "--epochs", 1, "--out", out)
        assert ended.status == 0, ended.err
    return {model: out / f"{model}-digits" / "checkpoint.npz" for model in ("vgg", "resnet")}


@pytest.fixture(scope="session")
def classifiers(tmp_path_factory) -> list[Path]:
    """The checkpoints of two classifiers of digits that have learned a little."""
    out = tmp_path_factory.mktemp("classifiers")
    recipe = {"kind": "plain", "epochs": 8.0, "batch_size": 20, "lr": 0.02, "widths": (8, 16)}
    for seed in (0, 1):
        td.seed(seed)
        train_classifier(data.digits("train", count=300), out / f"net-{seed}", seed=seed, **recipe)
    return [out / f"net-{seed}" / "checkpoint.npz" for seed in (0, 1)]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in, and a cache of its own beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> Path:
    """The folder of a model that has hardly learned the digits."""
    out = tmp_path_factory.mktemp("digits")
    ended = call(small_ddpm(), "--data", "digits", "--steps", STEPS, "--out", out)
    assert ended.status == 0, ended
    return out / "digits"
