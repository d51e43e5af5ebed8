"""Classifiers of scenes: trained once, found afterwards, and the same ones every time."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import backend, data, metrics
from tinydiff.metrics import scenes
from tinydiff.models import VGG


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(scenes, "COUNT", 40)
    small = {"widths": (8, 8), "epochs": 2.0, "lr": 0.01, "batch_size": 20}
    monkeypatch.setattr(scenes, "RECIPE", {**scenes.RECIPE, **small})


def test_is_trained_once_and_then_found(tmp_path, capsys):
    td.seed(5)
    state = backend.rng.bit_generator.state
    first = metrics.scene_classifier(tmp_path / "a", seed=3)
    assert backend.rng.bit_generator.state == state
    assert "There is no classifier of scenes in" in capsys.readouterr().out
    found = metrics.scene_classifier(tmp_path / "a", seed=3)
    assert capsys.readouterr().out == ""
    td.seed(6)
    anew = metrics.scene_classifier(tmp_path / "b", seed=3)
    other = metrics.scene_classifier(tmp_path / "c", seed=4)
    pictures = data.shapes("test", 3).images
    assert isinstance(first.model, VGG)
    assert metrics.features(first.model, pictures).shape == (3, 8)
    for same in (found, anew):
        np.testing.assert_array_equal(same(pictures), first(pictures))
    assert not np.array_equal(other(pictures), first(pictures))


def test_another_classifier_is_refused(tmp_path):
    metrics.scene_classifier(tmp_path / "a", seed=1)
    with pytest.raises(ValueError, match=r"is another classifier: expected .*'seed': 2.*'seed': 1"):
        metrics.scene_classifier(tmp_path / "a", seed=2)
    one = data.shapes("train", 20, side=32, objects=1).one_each()
    settings = {"kind": "plain", "epochs": 1.0, "widths": (8,), "batch_size": 20}
    metrics.train_classifier(one, tmp_path / "b", seed=2, **settings)
    with pytest.raises(ValueError, match=r"expected .*'vgg'.*got .*'plain'"):
        metrics.scene_classifier(tmp_path / "b", seed=2)
