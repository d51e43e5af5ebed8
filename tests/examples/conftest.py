"""Pictures to learn from, and two models that have learned from them a little."""

import dataclasses
from pathlib import Path

import pytest
from example_runs import (
    DETECT_FEW,
    SIZE,
    STEPS,
    Ended,
    call,
    small_ddpm,
    small_detect,
    write_pictures,
)


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
