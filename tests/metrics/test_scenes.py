"""Classifiers of scenes: trained once, found afterwards, and the same ones every time."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import backend, data, metrics
from tinydiff.metrics import scenes


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(scenes, "COUNT", 40)
    small = {"widths": (8, 8), "epochs": 2.0, "lr": 0.01, "batch_size": 20}
    monkeypatch.setattr(scenes, "RECIPES", {"resnet": {**small, "blocks": (0, 1)}, "vgg": small})


@pytest.mark.parametrize("kind", ["resnet", "vgg"])
def test_is_trained_once_and_then_found(kind, tmp_path, capsys):
    td.seed(5)
    state = backend.rng.bit_generator.state
    first = metrics.scene_classifier(tmp_path / "a", kind)
    assert backend.rng.bit_generator.state == state
    assert "There is no classifier of scenes in" in capsys.readouterr().out
    found = metrics.scene_classifier(tmp_path / "a", kind)
    assert capsys.readouterr().out == ""
    td.seed(6)
    anew = metrics.scene_classifier(tmp_path / "b", kind)
    pictures = data.shapes("test", 3).images
    assert metrics.features(first.model, pictures).shape == (3, 8)
    for other in (found, anew):
        np.testing.assert_array_equal(other(pictures), first(pictures))


def test_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="kind is 'plain', expected one of resnet, vgg"):
        metrics.scene_classifier(tmp_path, "plain")
    metrics.scene_classifier(tmp_path, "vgg")
    with pytest.raises(ValueError, match="is a classifier of kind 'vgg', expected 'resnet'"):
        metrics.scene_classifier(tmp_path, "resnet")
