"""examples/attack.py: a table of attacks, pictures, one's own picture; and what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels
from PIL import Image

from tinydiff import adversarial, data, images
from tinydiff.metrics import Recogniser

FEW = ("--count", 12, "--few", 4, "--small", 0.2)
SCRIPT = [sys.executable, str(EXAMPLES / "attack.py")]
ATTACKS = ("FGSM", "PGD, ε 0.3", "momentum", "L2", "ascent", "DeepFool", "Carlini", "NES", "square")


def small_attack():
    """examples/attack.py with short attacks, and few digits."""
    module = load("attack")
    module.DATA = {"digits": lambda split: data.digits(split, count=60)}
    module.STEPS, module.CW = 3, {"steps": 10, "lr": 0.1, "search_steps": 2, "c": 1.0}
    return module


@pytest.fixture(scope="module")
def attacked(classifiers, tmp_path_factory):
    out = tmp_path_factory.mktemp("attacks")
    ended = call(small_attack(), classifiers[0], *FEW, "--other", classifiers[1], "--out", out)
    assert ended.status == 0, ended.err
    return out / "attack-net-0", ended


def test_writes_what_it_promises(attacked):
    folder, ended = attacked
    assert everything_in(folder) == {"table.txt", "fooled.png", "universal.png"}
    assert ended.out.startswith((folder / "table.txt").read_text())
    for name in ATTACKS:
        assert name in ended.out, name


def test_the_table_tells_what_the_attacks_do(attacked, classifiers):
    lines = attacked[1].out.splitlines()
    test_set = data.digits("test", count=60)
    x, y = images.to_float(test_set.images[:12], (0, 1)), test_set.labels[:12]
    model = adversarial.on_pictures(Recogniser.load(classifiers[0]).model)
    before = adversarial.classes_seen(model, x) == y
    assert f"{before.mean():.1%}" in lines[2] and lines[2].startswith("no attack")
    (fgsm,) = (line for line in lines if line.startswith("FGSM"))
    found = adversarial.carried_out(adversarial.fgsm, model, x, y, eps=0.3)
    fooled = before & (found.seen != y)
    assert fooled.any()
    expected = [f"{(found.seen == y).mean():.1%}", f"{found.l2[fooled].mean():.3f}", "0.300"]
    assert fgsm.split()[3:] == expected


def test_one_perturbation_is_shown_before_what_it_does(attacked):
    table = pixels(attacked[0] / "universal.png")
    assert table.shape == (2 * (84 + 18 + 6) + 6, 5 * 90 + 6, 3)
    change = table[6:90:3, 6:90:3, 0].astype(float) / 255 * 0.6 - 0.3
    assert 0.03 < np.abs(change).max() < 0.302


def test_the_sheet_shows_before_change_and_after(attacked, classifiers):
    table = pixels(attacked[0] / "fooled.png")[..., 0]
    test_set = data.digits("test", count=60)
    before, change, after = (table[-89:-6:3, k : k + 83 : 3] for k in (-269, -179, -89))
    (number,) = (i for i in range(12) if np.array_equal(before, test_set.images[i, ..., 0]))
    x, y = images.to_float(test_set.images[[number]], (0, 1)), test_set.labels[[number]]
    d = after / 255.0 - x[0, ..., 0]
    assert 0.19 < np.abs(d).max() <= 0.2 + 0.5 / 255
    strong = np.abs(d) > 0.05
    np.testing.assert_array_equal(change[strong], np.where(d > 0, 255, 0)[strong])
    model = adversarial.on_pictures(Recogniser.load(classifiers[0]).model)
    seen = adversarial.classes_seen(model, (after / 255)[None, ..., None].astype(np.float32))
    assert seen != y == adversarial.classes_seen(model, x)


def test_fools_on_the_users_own_picture(classifiers, here):
    (here / "run").mkdir()
    copy = here / "run" / "checkpoint.npz"
    copy.write_bytes(classifiers[0].read_bytes())
    images.save_png(here / "my.png", data.digits("test", count=60).images[0], scale=4)
    ended = call(small_attack(), copy, "--image", "my.png", "--target", 3)
    assert ended.status == 0, ended.err
    assert everything_in(here / "run") == {"checkpoint.npz", "my-fooled.png"}
    assert re.match(r"\S+, \d+\.\d%; then 3, \d+\.\d%: 0?\.?\d.* away in L2, .* in L∞\.", ended.out)
    assert pixels(here / "run" / "my-fooled.png").shape[1] >= 3 * 84


REFUSED = {
    "RUN --count 0": "--count: '0' is not a whole number from 1 on",
    "RUN --few x": "--few: 'x' is not",
    "RUN --eps 0": "--eps: '0' is not a finite number above 0 and at most 1",
    "RUN --small 1.5": "--small: '1.5' is not",
    "RUN --seed -1": "--seed: '-1' is not",
    "RUN --image good.png": "--image and --target belong together",
    "RUN --target 3": "--image and --target belong together",
    "RUN --image good.png --target cat": "--target cat: expected one of 0, 1, 2",
    "RUN --image none.png --target 3": "none.png: No such file or directory",
    "none.npz": "none.npz does not exist: train with examples/classify.py first",
    "RUN --other none.npz": "none.npz does not exist",
    "RUN --data nowhere": "--data is 'nowhere', expected digits, or a folder",
    "text.npz": "text.npz: the file is not a tinydiff checkpoint",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, classifiers, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    (here / "text.npz").write_text("hello")
    before = everything_in(here)
    words = [str(classifiers[0]) if word == "RUN" else word for word in command.split()]
    error = call(small_attack(), *words).error()
    assert error.startswith("attack.py: ") and message in error
    assert everything_in(here) == before


def test_a_diffusion_model_is_not_a_classifier(runs, here):
    error = call(small_attack(), runs.labelled / "checkpoint.npz").error()
    assert "a checkpoint, but not a classifier's" in error


def test_help_names_what_it_writes_and_the_defaults():
    ended = subprocess.run([*SCRIPT, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    for word in ("runs/NAME/", "table.txt", "fooled.png", "universal.png", "-fooled.png"):
        assert word in ended.stdout
    for default in ("1000", "100", "0.3", "8/255", "0.03", "2/255"):
        assert default in ended.stdout
