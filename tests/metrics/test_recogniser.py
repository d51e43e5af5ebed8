"""A classifier in one piece: its settings, its checkpoint, pictures in files."""

from dataclasses import replace

import numpy as np
import pytest
from metrics.test_judge import stripes
from PIL import Image

import tinydiff as td
from tinydiff import metrics, ops, training
from tinydiff.backend import asarray, to_numpy
from tinydiff.data import Dataset
from tinydiff.images import to_float
from tinydiff.metrics import Recogniser
from tinydiff.models import CLASSIFIERS, Classifier

NETWORKS = {
    "plain": {"widths": (8, 16)},
    "resnet": {"widths": (8, 8), "blocks": (0, 1)},
    "vgg": {"widths": (8, 8)},
    "strided": {"widths": (8, 8), "hidden": 16, "last": 2},
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_comes_back_from_its_run(kind, tmp_path):
    td.seed(0)
    dataset = stripes(60, 0)
    recipe = {"kind": kind, "batch_size": 20, "flip": True, "shift": 1, **NETWORKS[kind]}
    made = metrics.train_classifier(dataset, tmp_path, epochs=2, **recipe)
    again = Recogniser.load(tmp_path / "checkpoint.npz", finished=True)
    assert type(again.model) is CLASSIFIERS[kind]
    assert again.classes == dataset.classes and again.image == (8, 8, 1)
    likely = again(dataset.images)
    assert np.array_equal(likely, made(dataset.images))
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-6)
    expected = ops.softmax(again.model(asarray(to_float(dataset.images)))).numpy()
    np.testing.assert_allclose(likely, expected, atol=1e-6)
    with pytest.raises(ValueError, match="recipe is"):
        metrics.train_classifier(dataset, tmp_path, epochs=2, **recipe | {"shift": 2})


def test_learns_from_noisy_pictures(tmp_path, monkeypatch):
    """σ is that of pictures in [0, 1], which to the network lie in [−1, 1]; nothing is clipped."""
    seen = []
    forward = Classifier.forward
    monkeypatch.setattr(
        Classifier, "forward", lambda self, x: seen.append(to_numpy(x)) or forward(self, x)
    )
    black = replace(stripes(60, 0), images=np.zeros((60, 8, 8, 1), np.uint8))
    recipe = {"batch_size": 20, "widths": (8,)}
    metrics.train_classifier(black, tmp_path / "noisy", epochs=10, noise=0.25, **recipe)
    x = np.concatenate(seen)
    assert x.dtype == np.float32 and len(x) == 600
    assert x.mean() == pytest.approx(-1, abs=0.02) and x.std() == pytest.approx(0.5, abs=0.02)
    assert len(np.unique(x[:, 0, 0])) == 600, "each step's is another"
    assert (
        Recogniser.load(tmp_path / "noisy" / "checkpoint.npz").settings["recipe"]["noise"] == 0.25
    )
    metrics.train_classifier(black, tmp_path / "plain", epochs=1, **recipe)
    assert "noise" not in td.load(tmp_path / "plain" / "checkpoint.npz")["settings"]["recipe"]
    np.testing.assert_array_equal(np.concatenate(seen[30:]), -1)
    with pytest.raises(ValueError, match=r"noise is -0\.1, expected ≥ 0"):
        metrics.train_classifier(black, tmp_path, noise=-0.1)


def test_small_data_sets_are_passed_over_more_often(tmp_path):
    recipe = {"batch_size": 20, "widths": (8,)}
    for name, epochs, least in (("a", 1, 5), ("b", 2, 5)):
        metrics.train_classifier(
            stripes(60, 0), tmp_path / name, epochs=epochs, least_steps=least, **recipe
        )
    steps = [td.load(tmp_path / name / "checkpoint.npz")["step"] for name in "ab"]
    assert steps == [5, 6]
    assert metrics.judge_recipe(3)["least_steps"] > 100


def test_a_run_that_has_not_come_to_its_end(tmp_path):
    metrics.train_classifier(stripes(60, 0), tmp_path, epochs=1, batch_size=20, widths=(8,))
    path = tmp_path / "checkpoint.npz"
    td.save(path, td.load(path) | {"step": 2})
    assert Recogniser.load(path).classes[0] == "plain"
    with pytest.raises(training.HalfTrained, match="half trained, 2 of 3 steps"):
        Recogniser.load(path, finished=True)


def test_a_run_from_before_there_were_other_networks(tmp_path):
    """Its settings tell of a plain network, and neither classes nor the size of pictures."""
    td.seed(0)
    model = Classifier(1, 10, widths=(8, 8))
    shape = {"in_channels": 1, "num_classes": 10, "widths": [8, 8]}
    settings = {"data": "mnist-train", "model": shape, "steps": 3, "seed": 0}
    state = {"settings": settings, "model": model.state_dict(), "ema": None, "step": 3}
    td.save(tmp_path / "old.npz", state)
    judge = metrics.load_judge(tmp_path / "old.npz")
    assert np.array_equal(judge.head.weight.numpy(), model.head.weight.numpy())
    old = Recogniser.load(tmp_path / "old.npz")
    assert old.classes == tuple("0123456789") and old.image == (28, 28, 1)


def test_reads_pictures_as_it_knows_them(tmp_path):
    grey = Recogniser({"model": {"in_channels": 1, "num_classes": 2, "widths": (8,)}})
    dark = np.zeros((60, 90), np.uint8)
    dark[20:40, 40:50] = 250
    for name, picture in (("dark.png", dark), ("light.png", 255 - dark)):
        Image.fromarray(picture).save(tmp_path / name)
    read = grey.read(tmp_path / "dark.png")
    assert read.shape == (28, 28, 1) and read.dtype == np.uint8
    assert read[0].max() < 30 and read[14, 14] > 200, "the middle, cut out square"
    assert abs(read.astype(int) - grey.read(tmp_path / "light.png")).max() <= 1
    settings = {"image": [8, 8, 3], "kind": "vgg"}
    colour = Recogniser({**settings, "model": {"in_channels": 3, "num_classes": 2}})
    assert colour.read(tmp_path / "light.png").shape == (8, 8, 3)
    assert colour.read(tmp_path / "light.png").mean() > 150, "photographs stay as they are"
    assert grey.read(tmp_path / "light.png", 60).shape == (60, 60, 1)
    assert grey.read(tmp_path / "light.png", 60)[0].max() < 30
    with pytest.raises(FileNotFoundError):
        grey.read(tmp_path / "none.png")


def test_verdicts():
    settings = {"in_channels": 1, "num_classes": 2, "widths": (8,)}
    recogniser = Recogniser({"model": settings, "classes": ["cat", "dog"]})
    recogniser.model.head.weight.data[...] = 0
    recogniser.model.head.bias.data[...] = asarray([0, np.log(3)])
    x = np.zeros((2, 28, 28, 1), np.uint8)
    assert recogniser.verdicts(x) == ["dog, 75.0%"] * 2
    assert recogniser.verdicts(x, x[::-1]) == ["dog, 75.0%; then dog, 75.0%"] * 2


def test_names_of_classes_are_those_of_the_data_set():
    recogniser = Recogniser({"model": {"in_channels": 1, "num_classes": 2, "widths": (8,)}})
    x, y = np.zeros((2, 28, 28, 1), np.uint8), np.arange(2)
    recogniser.take_names(Dataset("pets", x, y, ("cat", "dog")))
    assert recogniser.classes == ("cat", "dog")
    for other in (
        Dataset("small", x[:, :20, :20], y, ("cat", "dog")),
        Dataset("more", x, y, ("cat", "dog", "emu")),
    ):
        with pytest.raises(ValueError, match=f"of 2 classes, expected those of {other.name}: "):
            recogniser.take_names(other)
    assert recogniser.classes == ("cat", "dog")


@pytest.mark.parametrize(
    "settings", [{}, {"kind": "x", "model": {}}, {"model": {"in_channels": 1, "wings": 2}}]
)
def test_what_is_no_classifier(settings, tmp_path):
    td.save(tmp_path / "other.npz", {"settings": settings, "model": {}, "ema": None, "step": 1})
    with pytest.raises(training.CheckpointError, match="not a classifier's"):
        Recogniser.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match="train with examples/classify"):
        Recogniser.load(tmp_path / "none.npz")
