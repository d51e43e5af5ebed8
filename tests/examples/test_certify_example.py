"""examples/certify.py: a table, curves, noisy pictures, one's own picture; and what it refuses."""

import functools
import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, SIZE, call, everything_in, load, pixels
from metrics.test_judge import stripes
from PIL import Image

from tinydiff import adversarial, images
from tinydiff.metrics import Recogniser, judge_of, train_classifier

FEW = ("--data", "stripes", "--count", 12, "--draws", 40)
SCRIPT = [sys.executable, str(EXAMPLES / "certify.py")]
SMALL = {"batch_size": 20, "lr": 0.02, "widths": (8, 16)}


def pictures(split):
    return stripes(200, {"train": 0, "test": 1}[split])


def small_certify():
    """examples/certify.py with small networks, few and easy pictures, and a short attack."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("certify")
    module.DATA = {"stripes": pictures}
    module.STEPS = 3
    module.judge_recipe = lambda channels: {"epochs": 6.0}
    module.judge_of = functools.partial(judge_of, epochs=12.0, **SMALL)
    module.train_classifier = functools.partial(train_classifier, **SMALL)
    return module


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    out = tmp_path_factory.mktemp("certificates")
    ended = call(small_certify(), *FEW, "--noise", 0.1, 0.4, "--out", out)
    assert ended.status == 0, ended.err
    return out, ended


def test_writes_what_it_promises(certified):
    out, ended = certified
    assert everything_in(out / "certify-stripes") == {"table.txt", "certified.png", "noisy.png"}
    assert (out / "certify-stripes" / "table.txt").read_text() in ended.out
    for name in ("classify-stripes", "noise-0.1-stripes", "noise-0.4-stripes"):
        assert (out / name / "checkpoint.npz").exists()
    assert min(pixels(out / "certify-stripes" / "certified.png").shape[:2]) > 300
    # Four pictures by each network: six cells of 96 pixels, a caption of two lines, and margins.
    sheet = pixels(out / "certify-stripes" / "noisy.png")
    assert sheet.shape == (2 * (4 * 156 + 24), 6 * 120 + 24, 3)


def test_the_table_tells_what_is_certain(certified):
    out, _ = certified
    some = pictures("test")
    x, y = images.to_float(some.images[:12], (0, 1)), some.labels[:12]
    lines = (out / "certify-stripes" / "table.txt").read_text().splitlines()
    assert lines[0].split()[-7:] == ["0", "0.25", "0.5", "0.75", "1", "1.5", "abstains"]
    for sigma, line in zip((0.1, 0.4), lines[2:], strict=True):
        recogniser = Recogniser.load(out / f"noise-{sigma:g}-stripes" / "checkpoint.npz")
        assert recogniser.settings["recipe"]["noise"] == sigma
        smoothed = adversarial.Smoothed(adversarial.on_pictures(recogniser.model), sigma)
        its = smoothed.certify(x, draws=40, rng=np.random.default_rng(0))
        shares = [its.accuracy(y, r) for r in (0, 0.25, 0.5, 0.75, 1.0, 1.5)]
        shares.append((its.classes == adversarial.ABSTAIN).mean())
        assert line.split()[-7:] == [f"{share:.1%}" for share in shares]
        assert shares[0] > 0.3, "they have learned something"
    plain = adversarial.on_pictures(Recogniser.load(out / "classify-stripes/checkpoint.npz").model)
    clean = (adversarial.classes_seen(plain, x) == y).mean()
    assert lines[1].split()[-6] == f"{clean:.1%}"
    attacked = [float(share[:-1]) for share in lines[1].split()[-6:]]
    assert attacked == sorted(attacked, reverse=True) and attacked[-1] < attacked[0]


def test_the_same_command_again_trains_nothing_and_finds_the_same(certified):
    out, before = certified
    files = {path: path.read_bytes() for path in out.rglob("*.[tp]*")}
    ended = call(small_certify(), *FEW, "--noise", 0.1, 0.4, "--out", out)
    assert ended.status == 0 and "no judge" in before.out and "no judge" not in ended.out
    assert {path: path.read_bytes() for path in files} == files


def test_another_seed_is_another_network(certified):
    ended = call(small_certify(), *FEW, "--noise", 0.1, "--seed", 1, "--out", certified[0])
    assert "other settings: seed is 1, was 0" in ended.error()


def test_certifies_a_picture_of_ones_own(certified, here):
    (here / "run").mkdir()
    copy = here / "run" / "checkpoint.npz"
    copy.write_bytes((certified[0] / "noise-0.1-stripes" / "checkpoint.npz").read_bytes())
    images.save_png(here / "my.png", pictures("test").images[0], scale=4)
    ended = call(small_certify(), "--checkpoint", copy, "--image", "my.png", "--draws", 300)
    assert ended.status == 0, ended.err
    assert re.match(r"\w+, for certain within 0\.\d\d\d\.\nSee ", ended.out)
    assert everything_in(here / "run") == {"checkpoint.npz", "my-noisy.png"}
    assert pixels(here / "run" / "my-noisy.png").shape == (138 + 24, 6 * 120 + 24, 3)
    ended = call(small_certify(), "--checkpoint", copy, "--image", "my.png", "--draws", 3)
    assert ended.out.startswith("It abstains: no class is seen in surely more than half of 3 copi")


def test_certifies_colour_pictures_of_a_folder(here):
    rng = np.random.default_rng(0)
    for name, brightness in (("dark", 60), ("light", 200)):
        (here / "mine" / name).mkdir(parents=True)
        for i in range(20):
            picture = np.clip(rng.normal(brightness, 20, (10, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(here / "mine" / name / f"{i}.png")
    options = ("--data", "mine", "--size", SIZE, "--count", 4, "--draws", 20, "--noise", 0.1)
    module = small_certify()
    module.judge_of = functools.partial(module.judge_of, blocks=(0, 1))
    ended = call(module, *options)
    assert ended.status == 0, ended.err
    assert "4 pictures" in ended.out
    assert {path.name for path in (here / "runs").iterdir()} == {
        *("certify-mine", "classify-mine", "noise-0.1-mine"),
    }


REFUSED = {
    "--count 0": "--count: '0' is not a whole number from 1 on",
    "--draws x": "--draws: 'x' is not",
    "--noise 0": "--noise: '0' is not a finite number above 0",
    "--noise": "--noise: expected at least one argument",
    "--seed -1": "--seed: '-1' is not",
    "--data nowhere": "--data is 'nowhere', expected stripes, or a folder",
    "--image good.png": "--image and --checkpoint belong together",
    "--checkpoint RUN": "--image and --checkpoint belong together",
    "--checkpoint RUN --image none.png": "none.png: No such file or directory",
    "--checkpoint none.npz --image good.png": "none.npz does not exist: train with",
    "--checkpoint PLAIN --image good.png": "learned without noise: train one with --data first",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, certified, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    runs = {"RUN": "noise-0.1-stripes", "PLAIN": "classify-stripes"}
    before = everything_in(here)
    words = [
        certified[0] / runs[word] / "checkpoint.npz" if word in runs else word
        for word in command.split()
    ]
    error = call(small_certify(), *words).error()
    assert error.startswith("certify.py: ") and message in error
    assert everything_in(here) == before


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for word in ("runs/NAME/", "table.txt", "certified.png", "noisy.png", "-noisy.png"):
        assert word in ended.stdout
    for default in ("0.25 0.5", "500", "1000"):
        assert default in ended.stdout
