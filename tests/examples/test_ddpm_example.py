"""examples/ddpm.py: the pictures it promises, stopping and going on, and what it refuses."""

import itertools
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from example_runs import (
    EXAMPLES,
    SAMPLING_STEPS,
    SIZE,
    STEPS,
    call,
    cell,
    everything_in,
    pixels,
    small_ddpm,
    write_pictures,
)
from PIL import Image

from tinydiff import data, training
from tinydiff.diffusion import Pipeline

PICTURES = {"samples.png", "denoising.gif", "forward.png", "loss.png"}
ALWAYS = PICTURES | {"log.jsonl", "checkpoint.npz"}
FILES = ALWAYS | {"samples-3.png", "samples-6.png"}  # and grids during training, at each third
SCRIPT = [sys.executable, str(EXAMPLES / "ddpm.py")]


def side(count: int, size: int = SIZE) -> int:
    """The length of ``count`` pictures in a grid with a margin of 2, at scale 2."""
    return 2 * (count * (size + 2) + 2)


def test_writes_what_it_promises(runs):
    assert everything_in(runs.labelled) == everything_in(runs.unlabelled) == FILES
    for name in PICTURES:
        assert name in runs.ended.out
    assert str(runs.labelled / "checkpoint.npz") in runs.ended.out
    log = training.read_log(runs.labelled / "log.jsonl")
    assert [r["step"] for r in log] == [*range(1, STEPS + 1)]


def test_pictures_have_their_size_and_something_on_them(runs):
    for folder, classes, pictures in ((runs.labelled, 2, 11), (runs.unlabelled, 10, 9)):
        sizes = {
            "samples.png": (side(classes), side(10)),
            "denoising.gif": (side(classes * 4 // 8), side(8)),
            "forward.png": (side(min(6, pictures)), side(12)),
            "loss.png": (480, 840),
        }
        for name, (height, width) in sizes.items():
            found = pixels(folder / name)
            assert found.shape[:2] == (height, width), name
            assert np.ptp(found) > 100, name


def test_denoising_has_a_frame_for_every_step(runs):
    with Image.open(runs.labelled / "denoising.gif") as film:
        assert film.n_frames == SAMPLING_STEPS // 2
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB"), float))
    assert all(np.abs(a - b).mean() > 1 for a, b in itertools.pairwise(frames))


def test_forward_goes_from_the_data_to_noise(runs, pictures):
    table = pixels(runs.labelled / "forward.png").astype(float)
    images = data.image_folder(pictures / "classes", SIZE).images
    for row in range(6):
        first, last = cell(table, row, 0, SIZE), cell(table, row, 11, SIZE)
        assert np.abs(first - images[row]).max() <= 8
        assert abs(np.corrcoef(last.ravel(), images[row].ravel())[0, 1]) < 0.3
    away = [
        np.mean([np.abs(cell(table, row, c, SIZE) - images[row]).mean() for row in range(6)])
        for c in range(12)
    ]
    assert np.all(np.diff(away) > 0)


def test_same_seed_same_bytes_another_seed_others(runs, pictures, here):
    for name, seed in (("same", 0), ("other", 1)):
        options = ("--size", SIZE, "--steps", STEPS, "--seed", seed, "--out", here, "--name", name)
        assert call(small_ddpm(), "--data", pictures / "classes", *options).status == 0
    for name in ("samples.png", "denoising.gif", "forward.png", "checkpoint.npz"):
        first = (runs.labelled / name).read_bytes()
        assert (here / "same" / name).read_bytes() == first, name
        assert (here / "other" / name).read_bytes() != first, name


def test_ctrl_c_saves_and_the_same_command_goes_on(runs, pictures, here):
    """Stopped while it draws samples in between, it ends with the pictures of an unbroken run."""
    command = ("--data", pictures / "classes", "--size", SIZE, "--steps", STEPS, "--every", 5)
    module = small_ddpm()
    draw = module.draw_samples

    def draw_and_be_stopped(*given, **settings):
        draw(*given, **settings)
        os.kill(os.getpid(), signal.SIGINT)

    module.draw_samples = draw_and_be_stopped
    stopped = call(module, *command)
    assert f"after step 5 of {STEPS}" in stopped.error()
    folder = here / "runs" / "classes"
    assert everything_in(folder) == {"checkpoint.npz", "log.jsonl", "samples-5.png"}
    assert pixels(folder / "samples-5.png").shape[:2] == (side(2), side(10))

    assert call(small_ddpm(), *command).status == 0
    assert everything_in(folder) == ALWAYS | {"samples-5.png"}
    for name in ("samples.png", "denoising.gif", "checkpoint.npz"):
        assert (folder / name).read_bytes() == (runs.labelled / name).read_bytes(), name
    assert [r["step"] for r in training.read_log(folder / "log.jsonl")] == [*range(1, STEPS + 1)]


def test_ctrl_c_while_it_draws_at_the_end(pictures, here):
    module = small_ddpm()
    module.draw_denoising = lambda *given: os.kill(os.getpid(), signal.SIGINT)
    ended = call(module, "--data", pictures / "flat", "--size", SIZE, "--steps", 1)
    assert ended.status == 130
    assert ended.error() == "ddpm.py: interrupted"


def test_a_finished_run_is_drawn_again_without_training(runs, pictures, here):
    command = ("--data", pictures / "classes", "--size", SIZE, "--steps", STEPS, "--name", "again")
    assert call(small_ddpm(), *command).status == 0
    folder = here / "runs" / "again"
    for name in PICTURES:
        (folder / name).unlink()
    state = (folder / "checkpoint.npz").read_bytes()
    assert call(small_ddpm(), *command).status == 0
    assert everything_in(folder) == FILES
    assert (folder / "checkpoint.npz").read_bytes() == state
    assert (folder / "samples.png").read_bytes() == (runs.labelled / "samples.png").read_bytes()


def test_digits(here):
    ended = call(small_ddpm(), "--data", "digits", "--steps", 2)
    assert ended.status == 0, ended.err
    assert everything_in(here) >= {f"runs/digits/{name}" for name in ALWAYS}
    samples = pixels(here / "runs" / "digits" / "samples.png")
    assert samples.shape == (side(10, 28), side(10, 28))
    assert np.ptp(samples) > 100


OTHERS = {
    "prediction": "eps",
    "schedule": "linear",
    "weighting": "min_snr",
    "learned_variance": True,
    "zero_terminal_snr": True,
}


def test_another_process_is_trained_and_drawn_from(pictures, here):
    command = ("--data", pictures / "flat", "--size", SIZE, "--steps", 2, "--seed", 3)
    options = [("--" + name.replace("_", "-"), value) for name, value in OTHERS.items()]
    options = [word for option in options for word in option if word is not True]
    ended = call(small_ddpm(), *command, *options)
    assert ended.status == 0, ended.err
    folder = here / "runs" / "flat"
    assert everything_in(folder) >= ALWAYS
    settings = training.load(folder / "checkpoint.npz")["settings"]
    assert settings | OTHERS | {"schedule": ["linear", 1000]} == settings
    diffusion = Pipeline.load(folder / "checkpoint.npz").diffusion
    assert diffusion.prediction == "eps" and diffusion.learned_variance
    assert diffusion.schedule.snr[-1] < 1e-7
    first = (folder / "samples.png").read_bytes()
    error = call(small_ddpm(), *command).error()
    for name in OTHERS:
        assert f"{name} is " in error
    for name in ("weighting", "prediction"):  # each of them changes what is learned
        other = ("--name", name, f"--{name}", {"weighting": "p2", "prediction": "x0"}[name])
        assert call(small_ddpm(), *command, *options, *other).status == 0
        assert (here / "runs" / name / "samples.png").read_bytes() != first


def test_runs_older_than_those_options_go_on(runs, pictures, here):
    state = training.load(runs.labelled / "checkpoint.npz")
    for name in ("weighting", "learned_variance", "zero_terminal_snr"):
        assert state["settings"].pop(name) is None
    (here / "old").mkdir()
    training.save(here / "old" / "checkpoint.npz", state)
    command = ("--data", pictures / "classes", "--size", SIZE, "--steps", STEPS, "--out", here)
    assert call(small_ddpm(), *command, "--name", "old").status == 0
    assert (here / "old" / "samples.png").read_bytes() == (
        runs.labelled / "samples.png"
    ).read_bytes()


def test_fewer_pictures_than_a_batch(here):
    write_pictures(here / "few", 1, 200)
    ended = call(small_ddpm(), "--data", "few", "--size", SIZE, "--steps", 1)
    assert ended.status == 0, ended.err
    assert pixels(here / "runs" / "few" / "forward.png").shape[:2] == (side(1), side(12))


REFUSED = {
    "--data nope": "'nope', expected digits, mnist, fashion-mnist, cifar10, or a folder",
    "--data empty": "no picture that can be read: empty",
    "--data damaged": "no picture that can be read: damaged",
    "--data FLAT --size 12": "multiple of 8",
    "--data FLAT --size 0": "--size: '0' is not a whole number from 1 on",
    "--data FLAT --steps 0": "--steps: '0' is not",
    "--data FLAT --steps -3": "--steps: '-3' is not",
    "--data FLAT --steps many": "--steps: 'many' is not",
    "--data FLAT --every 0": "--every: '0' is not",
    "--data FLAT --seed -1": "--seed: '-1' is not a whole number from 0 on",
    "--data FLAT --guidance nan": "--guidance: 'nan' is not a finite number",
    "--data FLAT --guidance 3": "no classes to guide to",
    "--data FLAT --prediction u": "--prediction: invalid choice: 'u'",
    "--data FLAT --schedule none": "--schedule: invalid choice: 'none'",
    "--data FLAT --weighting all": "--weighting: invalid choice: 'all'",
    "--data FLAT --out notes.txt/runs": "notes.txt",
}


@pytest.mark.filterwarnings("ignore:.*skipped 1 files:UserWarning")
@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, pictures, here):
    (here / "empty").mkdir()
    (here / "damaged").mkdir()
    (here / "damaged" / "a.png").write_text("no picture")
    (here / "notes.txt").write_text("precious")
    before = everything_in(here)
    words = [str(pictures / "flat") if word == "FLAT" else word for word in command.split()]
    error = call(small_ddpm(), "--size", SIZE, *words).error()
    assert error.startswith("ddpm.py: ")
    assert message in error
    assert everything_in(here) == before
    assert (here / "notes.txt").read_text() == "precious"


def test_refuses_to_go_on_with_another_run(runs, pictures):
    """A folder in which something else was trained stays as it is."""
    before = {name: (runs.labelled / name).read_bytes() for name in FILES}
    options = ("--size", SIZE, "--steps", STEPS, "--out", runs.labelled.parent, "--name", "classes")
    error = call(small_ddpm(), "--data", pictures / "flat", *options).error()
    assert "other settings" in error
    assert "classes is [], was ['cats', 'dogs']" in error
    error = call(small_ddpm(), "--data", pictures / "classes", *options, "--steps", 5).error()
    assert f"steps is 5, was {STEPS}" in error
    assert {name: (runs.labelled / name).read_bytes() for name in FILES} == before


def test_says_so_when_training_diverges(pictures, here):
    module = small_ddpm()
    module.COLOUR["lr"] = 1e30
    with np.errstate(all="ignore"):
        options = ("--size", SIZE, "--steps", 50)
        error = call(module, "--data", pictures / "flat", *options).error()
    assert re.fullmatch(r"ddpm.py: step \d+: the .* is (nan|inf).*smaller learning rate.*", error)
    assert "samples.png" not in everything_in(here / "runs" / "flat")


def test_a_full_disk(pictures, here, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("tinydiff.training.checkpoint.replacing", full)
    options = ("--size", SIZE, "--steps", 1)
    error = call(small_ddpm(), "--data", pictures / "flat", *options).error()
    assert error == "ddpm.py: runs/flat/checkpoint.npz: No space left on device"
    assert everything_in(here / "runs" / "flat") == {"log.jsonl"}


def test_asks_for_matplotlib_before_it_trains(here, monkeypatch):
    module = small_ddpm()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    error = call(module, "--data", "digits", "--steps", 1).error()
    assert "pip install matplotlib" in error
    assert everything_in(here) == set()


def test_help_names_what_it_writes():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for name in PICTURES | {"the log", "checkpoint", "runs/NAME/"}:
        assert name in re.sub(r"\s+", " ", ended.stdout)


def test_the_script_itself(here):
    """The recipe as it is, for two steps on tiny pictures of one class."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    write_pictures(here / "mine" / "things", 4, 200)
    command = [*SCRIPT, "--data", "mine", "--size", "8", "--steps", "2"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert everything_in(here / "runs" / "mine") == ALWAYS | {"samples-1.png"}
    assert pixels(here / "runs/mine/samples.png").shape[:2] == (side(1, 8), side(10, 8))
    wrong = subprocess.run([*SCRIPT, "--data", "yours"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("ddpm.py: --data is 'yours'")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.slow
def test_digits_by_the_script_itself(here, tmp_path):
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    command = [*SCRIPT, "--data", "digits", "--steps", "3", "--name", "demo"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert everything_in(here / "runs" / "demo") == ALWAYS | {"samples-1.png", "samples-2.png"}
    assert list((tmp_path / "cache" / "tinydiff" / "digits").glob("*.npz"))
