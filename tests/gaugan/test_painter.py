"""The painter: it draws what its network does, comes back from a run, and refuses the rest."""

import numpy as np
import pytest
from small_painter import SETTINGS, maps, painter, trainer

import tinydiff as td
from tinydiff.backend import randn
from tinydiff.gaugan import Painter, regions_of
from tinydiff.images import to_uint8
from tinydiff.training import CheckpointError, HalfTrained, train


def test_draws_what_its_network_does(monkeypatch):
    """A style for each region of each map, from the one generator, whatever the batches."""
    made, regions = painter(), regions_of(maps())
    z = randn((4, 1 + regions.max(), 2), rng=np.random.default_rng(7))
    with td.no_grad():
        expected = to_uint8(made.model.generator(maps(), regions, z).numpy())
    got = made.draw(maps(), rng=np.random.default_rng(7))
    assert got.shape == (4, 16, 16, 3)
    np.testing.assert_array_equal(got, expected)
    monkeypatch.setattr("tinydiff.gaugan.painter.BATCH", 3)
    parts = made.draw(maps(), rng=np.random.default_rng(7))
    np.testing.assert_allclose(parts.astype(int), expected, atol=1)
    assert (made.draw(maps(), rng=np.random.default_rng(8)) != expected).any()


def test_maps_of_other_sizes_and_of_nothing():
    made = painter()
    assert made.draw(np.zeros((1, 8, 12), int)).shape == (1, 8, 12, 3)
    many = np.arange(64).reshape(8, 8) % 3  # more regions than there were to learn from
    assert made.draw(many[None]).shape == (1, 8, 8, 3)


def test_a_run_gone_on_with_ends_with_the_same_bits(tmp_path):
    whole = list(train(trainer(), 4, tmp_path / "whole", settings=SETTINGS))
    assert len(whole) == 4
    for _ in train(trainer(), 2, tmp_path / "parts", settings=SETTINGS):
        pass
    with pytest.raises(HalfTrained, match="2 of 4 steps"):
        Painter.load(tmp_path / "parts" / "checkpoint.npz", finished=True)
    for _ in train(trainer(), 4, tmp_path / "parts", settings=SETTINGS):
        pass
    drawn = [
        Painter.load(tmp_path / name / "checkpoint.npz", finished=True).draw(
            maps(), rng=np.random.default_rng(0)
        )
        for name in ("whole", "parts")
    ]
    np.testing.assert_array_equal(*drawn)


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="settings: they lack spade"):
        Painter({"image": (16, 16, 3), "map_classes": ("star",)})
    with pytest.raises(ValueError, match="divisible by 4"):
        painter().draw(maps()[:, :6])
    with pytest.raises(ValueError, match="expected integers"):
        painter().draw(maps() / 2)
    with pytest.raises(ValueError, match="expected 0 … 3 in maps, got 2 … 4"):
        painter().draw(maps() + 2)
    with pytest.raises(FileNotFoundError, match=r"train with examples/paint.py first"):
        Painter.load(tmp_path / "none.npz")
    td.save(tmp_path / "other.npz", {"settings": {}, "model": {}, "ema": None, "step": 1})
    with pytest.raises(CheckpointError, match="not a SPADE generator's"):
        Painter.load(tmp_path / "other.npz")
