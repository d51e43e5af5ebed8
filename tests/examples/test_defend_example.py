"""examples/defend.py and defences.py: trained, measured, compared, one's own picture, refusals."""

import re
import subprocess
import sys

import numpy as np
import pytest
from example_runs import EXAMPLES, call, everything_in, load, pixels, write_pictures
from PIL import Image

import tinydiff as td
from tinydiff import adversarial, data, images, training
from tinydiff.metrics import Recogniser
from tinydiff.visualize import as_cells

FEW = ("--count", 20, "--few", 3)
WRITTEN = {"table.txt", "loss.png", "log.jsonl", "checkpoint.npz"}


def few_digits(split):
    return data.digits(split, count=300 if split == "train" else 60)


def small_defend():
    """examples/defend.py with small networks and few digits."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("defend")
    module.DATA = {"digits": few_digits}
    module.NETWORKS = {
        1: {"kind": "strided", "widths": (8, 16), "hidden": 32, "batch_size": 20, "lr": 0.02},
        3: {"kind": "resnet", "widths": (8, 8), "blocks": (0, 1), "dropout": 0.0, "lr": 0.02},
    }
    return module


def small_defences():
    module = load("defences")
    module.DATA = {"digits": few_digits}
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of an undefended and a defended network of digits, and what was said."""
    out, ended = tmp_path_factory.mktemp("defended"), {}
    for defence in ("none", "fast"):
        options = ("--defence", defence, "--epochs", 4, "--eps", 0.1, *FEW, "--out", out)
        ended[defence] = call(small_defend(), *options)
        assert ended[defence].status == 0, ended[defence].err
    return {defence: out / f"defend-{defence}-digits" for defence in ended}, ended


def test_writes_what_it_promises_and_a_row_for_each_attack(trained):
    folders, ended = trained
    for defence, folder in folders.items():
        assert everything_in(folder) == WRITTEN
        table = (folder / "table.txt").read_text()
        assert table in ended[defence].out
        first, head, row = table.splitlines()
        assert first == "20 pictures of digits-test, ε 0.1; * 3 of them"
        assert head.split()[:3] == ["clean", "FGSM", "PGD-40"]
        recogniser = Recogniser.load(folder / "checkpoint.npz", finished=True)
        test_set = few_digits("test")
        x, y = images.to_float(test_set.images[:20], (0, 1)), test_set.labels[:20]
        model = adversarial.on_pictures(recogniser.model)
        fooled = adversarial.carried_out(adversarial.fgsm, model, x, y, eps=0.1).seen
        shares = [(seen == y).mean() for seen in (adversarial.classes_seen(model, x), fooled)]
        assert row.split()[:3] == [folder.name, *(f"{share:.1%}" for share in shares)]


def test_a_network_remembers_how_it_was_defended(trained):
    settings = td.load(trained[0]["fast"] / "checkpoint.npz")["settings"]
    attack = {"name": "adversarial_loss", "eps": 0.1, "steps": 1, "step": 1.25}
    assert settings["recipe"]["loss"] == attack
    assert settings["kind"] == "strided" and settings["model"]["widths"] == [8, 16]


def test_goes_on_where_it_stopped_and_measures_again(trained, here):
    """A run of which the last steps are missing ends as the other did."""
    folder = trained[0]["fast"]
    whole = (folder / "checkpoint.npz").read_bytes()
    module = small_defend()
    module.train_classifier = lambda *given, **more: half(*given, **more)

    def half(dataset, into, **recipe):
        stopped = load("defend").train_classifier
        trainer_of = td.metrics.classifying.train

        def until_half(trainer, steps, *given, **settings):
            return trainer_of(trainer, steps // 2, *given, **settings)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(td.metrics.classifying, "train", until_half)
            stopped(dataset, into, **recipe)
        raise training.TrainingStopped("half of it")

    options = ("--defence", "fast", "--epochs", 4, "--eps", 0.1, *FEW)
    assert call(module, *options).status != 0
    assert td.load(here / "runs/defend-fast-digits/checkpoint.npz")["step"] == 30
    ended = call(small_defend(), *options)
    assert ended.status == 0, ended.err
    assert (here / "runs/defend-fast-digits/checkpoint.npz").read_bytes() == whole
    assert (folder / "table.txt").read_text() in ended.out


@pytest.mark.parametrize("defence", ["pgd", "gradient", "squeeze", "noise"])
def test_every_defence_trains(defence, here):
    ended = call(small_defend(), "--defence", defence, "--epochs", 0.2, "--name", "x", *FEW)
    assert ended.status == 0, ended.err
    recipe = td.load(here / "runs/x/checkpoint.npz")["settings"]["recipe"]
    expected = {
        "pgd": ("adversarial_loss", {"eps": 0.3, "steps": 7}),
        "gradient": ("gradient_penalty_loss", {"weight"}),
        "squeeze": ("squeezing_loss", {"weight"}),
    }
    if defence == "noise":
        assert recipe["noise"] == 0.25 and "loss" not in recipe
    else:
        name, settings = expected[defence]
        assert recipe["loss"]["name"] == name and set(settings) < recipe["loss"].keys()
    if defence == "pgd":
        assert recipe["loss"].items() > settings.items()


def test_a_folder_of_colour_pictures(here):
    for name, brightness in (("cats", 120), ("dogs", 250)):
        write_pictures(here / "pets" / name, 20, brightness)
    options = ("--data", "pets", "--size", 28, "--defence", "pgd", "--epochs", 2, *FEW)
    ended = call(small_defend(), *options)
    assert ended.status == 0, ended.err
    assert "pictures of pets-test, ε 0.0314" in ended.out
    settings = td.load(here / "runs/defend-pgd-pets/checkpoint.npz")["settings"]
    assert settings["kind"] == "resnet" and settings["recipe"]["loss"]["eps"] == 8 / 255


def test_ones_own_picture(trained, here):
    digit = few_digits("test").images[0, ..., 0]
    Image.fromarray(255 - digit).resize((56, 56)).save(here / "my.png")  # dark on white
    checkpoint = trained[0]["none"] / "checkpoint.npz"
    ended = call(small_defend(), "--checkpoint", checkpoint, "--image", "my.png", "--eps", 0.2)
    assert ended.status == 0, ended.err
    before, after = re.match(r"(\d), \d+\.\d%; then (\d), \d+\.\d% \(ε 0.2\)", ended.out).groups()
    recogniser = Recogniser.load(checkpoint)
    mine = recogniser.read(here / "my.png")[None]
    assert before == recogniser.classes[recogniser(mine)[0].argmax()] != after
    sheet = checkpoint.with_name("my-attacked.png")
    table = pixels(sheet)[..., 0]
    sheet.unlink()
    pictures = [table[-89:-6:3, k : k + 83 : 3].astype(int) for k in (-269, -89)]
    np.testing.assert_array_equal(pictures[0], mine[0, ..., 0])
    assert 49 <= np.abs(pictures[1] - pictures[0]).max() <= 52
    assert (
        recogniser.classes[recogniser(pictures[1][None, ..., None].astype(np.uint8))[0].argmax()]
        == after
    )


# Compared


@pytest.fixture(scope="module")
def compared(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    paths = [folder / "checkpoint.npz" for folder in trained[0].values()]
    ended = call(small_defences(), *paths, "--eps", 0.1, *FEW, "--out", out)
    assert ended.status == 0, ended.err
    return out / "defences-defend-none-digits", ended


def test_compares(compared, trained):
    folder, ended = compared
    assert everything_in(folder) == {"table.txt", "seen.png", "gradients.png"}
    assert ended.out.startswith((folder / "table.txt").read_text())
    rows = ended.out.splitlines()[2:4]
    for row, one in zip(rows, trained[0].values(), strict=True):
        assert row == (one / "table.txt").read_text().splitlines()[2]


def test_what_networks_see_under_attack(compared):
    table = pixels(compared[0] / "seen.png")
    side, text = 84, 18
    images_, labels = few_digits("test").images[:20], few_digits("test").labels[:20]
    places = [np.flatnonzero(labels == c)[0] for c in np.unique(labels)]
    assert len(places) > 5
    assert table.shape == (3 * (side + text + 2) + 2, (len(places) + 1) * (side + 2) + 2, 3)
    for k, picture in enumerate(as_cells(images_[places], side), 1):
        left = 2 + k * (side + 2)
        np.testing.assert_array_equal(table[2 : 2 + side, left : left + side], picture)
        change = np.abs(table[106 : 106 + side, left : left + side].astype(int) - picture)
        assert 20 <= change.max() <= 26


def test_gradients_are_red_and_blue(compared):
    table = pixels(compared[0] / "gradients.png")[-86 * 2 : -2, -86 * 5 :].astype(int)
    red, green, blue = np.moveaxis(table, -1, 0)
    assert ((red - blue) > 100).any() and ((blue - red) > 100).any()
    assert (green == np.minimum(red, blue)).all()


REFUSED = {
    "defend --defence magic": "invalid choice: 'magic'",
    "defend --epochs 0": "--epochs: '0' is not a finite number above 0",
    "defend --eps 2": "--eps: '2' is not a finite number above 0 and at most 1",
    "defend --count 0": "--count: '0' is not a whole number from 1 on",
    "defend --size 8": "--size: '8' is not a whole number from 28 on",
    "defend --data nowhere": "--data is 'nowhere', expected digits, or a folder",
    "defend --image good.png": "--image and --checkpoint belong together",
    "defend --checkpoint none.npz --image good.png": "none.npz does not exist",
    "defend --checkpoint RUN --image none.png": "none.png: No such file or directory",
    "defences none.npz": "none.npz does not exist: train with examples/classify.py first",
    "defences RUN text.npz": "text.npz: the file is not a tinydiff checkpoint",
    "defences RUN --radius 0": "--radius: '0' is not",
    "defences RUN --data nowhere": "--data is 'nowhere'",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_leaves_nothing(command, message, trained, here):
    Image.new("RGB", (64, 64)).save(here / "good.png")
    (here / "text.npz").write_text("hello")
    before = everything_in(here)
    script, *words = command.split()
    words = [str(trained[0]["none"] / "checkpoint.npz") if w == "RUN" else w for w in words]
    error = call({"defend": small_defend, "defences": small_defences}[script](), *words).error()
    assert error.startswith(f"{script}.py: ") and message in error
    assert everything_in(here) == before


def test_networks_of_other_pictures_do_not_compare(trained, here):
    for name, brightness in (("cats", 120), ("dogs", 250)):
        write_pictures(here / "pets" / name, 20, brightness)
    error = call(
        small_defences(), trained[0]["none"] / "checkpoint.npz", "--data", here / "pets"
    ).error()
    assert "expected those of" in error


@pytest.mark.parametrize("name", ["defend", "defences"])
def test_help_names_what_it_writes(name):
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--help"], capture_output=True, text=True
    )
    assert ended.returncode == 0
    for word in ("runs/NAME/", "table.txt", "1000", "200", "8/255"):
        assert word in ended.stdout
