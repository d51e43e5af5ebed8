"""The judge and what it says: features and classes of pictures, agreement, the accuracy score."""

import importlib
import signal
import sys

import numpy as np
import pytest

import tinydiff as td
from tinydiff import backend, metrics, nn
from tinydiff.backend import asarray
from tinydiff.data import Dataset
from tinydiff.images import to_float
from tinydiff.kernels import workers
from tinydiff.metrics import agreement
from tinydiff.models import Classifier, ResNet
from tinydiff.training import TrainingStopped

SMALL = {"widths": (16, 16)}


def stripes(count, seed, classes=("plain", "checked", "lying", "standing")):
    """Noisy 8×8 pictures, in turn plain, checked, and striped in two directions."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (count, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(count) % 4
    images[labels == 1, ::2, ::2] += 120
    images[labels == 1, 1::2, 1::2] += 120
    images[labels == 2, ::2] += 120
    images[labels == 3, :, ::2] += 120
    return Dataset(f"stripes-{seed}", images, labels, tuple(classes))


class ByCorner(nn.Module):
    """Sees the class in the brightness of the first pixel, 8 grey levels each."""

    def forward(self, x):
        seen = np.rint((backend.to_numpy(td.Tensor(x).data)[:, 0, 0, 0] + 1) * 127.5 / 8)
        return td.Tensor(np.eye(10, dtype=np.float32)[seen.astype(int)])


def corners(classes):
    images = np.zeros((len(classes), 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = 8 * np.array(classes)
    return images


@pytest.fixture
def classifier():
    return Classifier(1, 4, widths=(8, 16), dropout=0.5)


def test_features_lie_before_the_last_layer(classifier, monkeypatch, capsys):
    monkeypatch.setattr(importlib.import_module("tinydiff.metrics.features"), "BATCH", 7)
    dataset = stripes(20, 0)
    found = metrics.features(classifier, dataset.images)
    assert capsys.readouterr().err == ""
    assert found.shape == (20, 16)
    assert type(found) is np.ndarray
    x = asarray(to_float(dataset.images))
    np.testing.assert_allclose(found, classifier.features(x).numpy(), atol=1e-6)
    logits = found @ classifier.head.weight.numpy() + classifier.head.bias.numpy()
    assert np.array_equal(metrics.predict(classifier, dataset.images), logits.argmax(axis=1))
    as_floats = metrics.features(classifier, to_float(dataset.images), progress=True)
    assert "20/20" in capsys.readouterr().err
    assert np.array_equal(as_floats, found)


@pytest.mark.skipif(
    backend.name != "numpy" or sys.platform != "linux", reason="helpers are forks on Linux"
)
def test_features_in_several_processes(classifier, monkeypatch):
    images = stripes(20, 0).images
    alone, here = metrics.features(classifier, images), []
    method = Classifier.features
    monkeypatch.setattr(
        Classifier, "features", lambda model, x: here.append(len(x)) or method(model, x)
    )
    monkeypatch.setattr(workers, "THREADS", 2)
    monkeypatch.setattr("tinydiff.team.team.WORTH", 0)
    np.testing.assert_allclose(metrics.features(classifier, images), alone, atol=1e-6)
    assert here == [10]


PICTURES = np.zeros((3, 8, 8, 1), np.uint8)
REFUSED = {
    "a list": (PICTURES.tolist(), TypeError, "expected a NumPy array of uint8 or floats, got list"),
    "integers": (PICTURES.astype(int), TypeError, "got int64"),
    "one picture": (PICTURES[0], ValueError, r"expected \(N, H, W, C\) with N ≥ 1"),
    "none": (PICTURES[:0], ValueError, "N ≥ 1"),
    "bytes as floats": (PICTURES + 9.0, ValueError, r"floats in \[−1, 1\], got 9 … 9"),
    "not finite": (PICTURES + np.nan, ValueError, r"floats in \[−1, 1\], got nan"),
    "colour": (np.zeros((3, 8, 8, 3), np.uint8), ValueError, r"expected \(N, H, W, 1\)"),
}


@pytest.mark.parametrize(("images", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_pictures(images, kind, message, classifier):
    with pytest.raises(kind, match=message):
        metrics.features(classifier, images)


def test_refuses_a_model_without_features():
    with pytest.raises(TypeError, match=r"with a method features\(x\), got Linear"):
        metrics.features(nn.Linear(2, 2), PICTURES)


def test_label_agreement_counts():
    found = metrics.label_agreement(ByCorner(), corners([3, 3, 4, 8, 8]), np.array([3, 3, 3, 8, 8]))
    assert found.value == 0.8
    assert found.error == pytest.approx(0.1708, abs=1e-4)


@pytest.mark.parametrize("labels", [[1, 2], [1, 2, -1], [1.0, 2.0, 3.0]])
def test_label_agreement_refuses(labels):
    with pytest.raises(ValueError, match="labels: expected 3 classes ≥ 0, one for each picture"):
        metrics.label_agreement(ByCorner(), corners([1, 2, 3]), np.array(labels))


def test_accuracy_score_is_what_drawn_pictures_teach():
    """Right pictures teach their class; a kind that is never drawn is never recognised."""
    recipe = {"steps": 100, "batch_size": 20, "lr": 1e-2, **SMALL}
    test = stripes(80, 1)
    td.seed(0)
    good = metrics.classifier_accuracy_score(stripes(60, 0), test, **recipe)
    assert good.value > 0.95
    drawn = stripes(60, 0)
    kept = drawn.labels != 2
    lacking = Dataset("lacking", drawn.images[kept], drawn.labels[kept], drawn.classes)
    td.seed(0)
    found = metrics.classifier_accuracy_score(lacking, test, **recipe)
    assert 0.6 < found.value <= 0.75
    td.seed(0)
    assert metrics.classifier_accuracy_score(lacking, test, **recipe) == found


def test_accuracy_score_is_that_of_the_averaged_weights(monkeypatch):
    trainers, tested = [], []
    make, predict = agreement.classifier_trainer, agreement.predict

    def remember(*given, **settings):
        trainers.append(make(*given, **settings))
        return trainers[-1]

    def look(model, images):
        tested.append(model.head.weight.numpy().copy())
        return predict(model, images)

    monkeypatch.setattr(agreement, "classifier_trainer", remember)
    monkeypatch.setattr(agreement, "predict", look)
    recipe = {"steps": 4, "batch_size": 20, **SMALL}
    metrics.classifier_accuracy_score(stripes(60, 0), stripes(20, 1), **recipe)
    assert trainers[0].step == 4
    assert np.array_equal(tested[0], trainers[0].ema.state_dict()["weights"]["head.weight"])
    assert not np.array_equal(tested[0], trainers[0].model.head.weight.numpy())


def test_accuracy_score_refuses_other_data():
    drawn = stripes(8, 0, classes=tuple("abcd"))
    with pytest.raises(ValueError, match=r"drawn: expected classes .* as in stripes-1, got"):
        metrics.classifier_accuracy_score(drawn, stripes(8, 1))
    smaller = Dataset("small", drawn.images[:, 2:], drawn.labels, drawn.classes)
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\) as in stripes-1, got \(6, 8, 1\)"):
        metrics.classifier_accuracy_score(smaller, stripes(8, 1, drawn.classes))


def test_a_judge_comes_back_from_its_run(tmp_path):
    dataset = stripes(60, 0)
    td.seed(3)
    made = metrics.train_classifier(dataset, tmp_path, epochs=2, batch_size=20, lr=1e-2, **SMALL)
    state = td.load(tmp_path / "checkpoint.npz")
    assert state["step"] == 6
    weight = made.model.head.weight.numpy()
    assert np.array_equal(weight, state["ema"]["weights"]["head.weight"]), "not the averaged ones"
    again = metrics.load_judge(tmp_path / "checkpoint.npz")
    assert np.array_equal(again.head.weight.numpy(), weight)


def test_a_judge_is_trained_once_and_draws_no_numbers_of_others(tmp_path, capsys):
    folder, recipe = tmp_path / "judge", {"epochs": 1, "batch_size": 20, **SMALL}
    drawn, weights = [], []
    for seed in (1, 1, 2):
        td.seed(seed)
        judge = metrics.judge_of(stripes(60, 0), folder, **recipe)
        drawn.append(backend.rng.random())
        weights.append(judge.head.weight.numpy())
    said = capsys.readouterr().out
    assert said.count("There is no judge in") == 1 and str(folder) in said
    td.seed(1)
    assert drawn[0] == drawn[1] == backend.rng.random()
    assert drawn[2] != drawn[0]
    again = metrics.judge_of(stripes(60, 0), tmp_path / "again", **recipe)
    for weight in weights:
        assert np.array_equal(weight, again.head.weight.numpy())


def test_a_judge_that_was_interrupted_is_trained_on(tmp_path, capsys):
    """To the same weights as one that was not."""
    recipe = {"epochs": 1, "batch_size": 20, **SMALL}
    whole = metrics.judge_of(stripes(60, 0), tmp_path / "whole", **recipe)
    trainer = metrics.classifying.Recipe.trainer

    def interrupted(*given, **settings):
        made = trainer(*given, **settings)
        run = made.run

        def stopped(**until):
            for record in run(**until):
                if record.step == 2:
                    signal.raise_signal(signal.SIGINT)
                yield record

        made.run = stopped
        return made

    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingStopped, match="2 of 3"):
        patch.setattr("tinydiff.metrics.classifying.Recipe.trainer", interrupted)
        metrics.judge_of(stripes(60, 0), tmp_path / "part", **recipe)
    capsys.readouterr()
    td.seed(5)
    judge = metrics.judge_of(stripes(60, 0), tmp_path / "part", **recipe)
    said = capsys.readouterr().out
    assert said == f"The judge in {tmp_path / 'part'} is half trained: it is trained on now.\n"
    assert np.array_equal(judge.head.weight.numpy(), whole.head.weight.numpy())
    metrics.judge_of(stripes(60, 0), tmp_path / "part", **recipe)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="steps"):
        path = tmp_path / "part" / "checkpoint.npz"
        td.save(path, td.load(path) | {"step": 1})
        metrics.judge_of(stripes(60, 0), tmp_path / "part", **recipe | {"epochs": 2})


def test_the_judge_of_other_pictures_is_refused(tmp_path):
    recipe = {"epochs": 1, "batch_size": 20, **SMALL}
    metrics.judge_of(stripes(60, 0), tmp_path, **recipe)
    with pytest.raises(ValueError, match=r"its classes is .*'plain'.*expected .*'a'"):
        metrics.judge_of(stripes(60, 0, tuple("abcd")), tmp_path, **recipe)
    larger = Dataset("large", np.zeros((60, 9, 9, 1), np.uint8), np.zeros(60, int), ("a",))
    with pytest.raises(ValueError, match=r"other pictures than large: its image is \(8, 8, 1\)"):
        metrics.judge_of(larger, tmp_path, **recipe)


def test_a_judge_of_colour_is_a_residual_network(tmp_path):
    grey = stripes(60, 0)
    colour = Dataset("colour", grey.images.repeat(3, axis=3), grey.labels, grey.classes)
    recipe = {"epochs": 1, "batch_size": 20, "widths": (8, 8), "blocks": (0, 1)}
    recipe["least_steps"] = 3
    assert type(metrics.judge_of(colour, tmp_path, **recipe)) is ResNet
    recipe = td.load(tmp_path / "checkpoint.npz")["settings"]["recipe"]
    assert recipe["flip"] and recipe["shift"]


def test_a_judge_that_cannot_be_trained_draws_no_numbers_either(tmp_path):
    td.seed(1)
    nameless = Dataset("nameless", PICTURES)
    with pytest.raises(ValueError, match="nameless has no labels"):
        metrics.judge_of(nameless, tmp_path)
    drawn = backend.rng.random()
    td.seed(1)
    assert drawn == backend.rng.random()


def test_a_judge_is_refused_half_trained(tmp_path):
    metrics.train_classifier(stripes(60, 0), tmp_path, epochs=1, batch_size=20, **SMALL)
    path = tmp_path / "checkpoint.npz"
    td.save(path, td.load(path) | {"step": 1})
    with pytest.raises(ValueError, match="is half trained, 1 of 3 steps"):
        metrics.load_judge(path)
    td.save(path, {"settings": {}})
    with pytest.raises(ValueError, match="not a classifier's"):
        metrics.load_judge(path)


def test_a_classifier_needs_labels():
    with pytest.raises(ValueError, match="nameless has no labels"):
        metrics.classifier_trainer(Dataset("nameless", PICTURES), 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, expected an int ≥ 1"),
        ({"kind": "large"}, "kind is 'large', expected one of plain"),
        ({"loss_settings": {"eps": 1}}, "loss_settings are {'eps': 1}, and there is no loss"),
    ],
)
def test_a_recipe_is_checked_before_anything_is_made(wrong, message, tmp_path):
    for make in (metrics.classifier_trainer, metrics.train_classifier):
        with pytest.raises(ValueError, match=message):
            make(stripes(60, 0), 3 if make is metrics.classifier_trainer else tmp_path, **wrong)
    assert not list(tmp_path.iterdir())
