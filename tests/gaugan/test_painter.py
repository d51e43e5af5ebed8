"""The painter: it draws what its network does, comes back from a run, and refuses the rest."""

import numpy as np
import pytest
from small_painter import SETTINGS, maps, painter, trainer

import tinydiff as td
from tinydiff.backend import asarray, key, randn
from tinydiff.gaugan import Painter, dealt, regions_of
from tinydiff.images import to_float, to_uint8
from tinydiff.models.semantic_map import one_hot
from tinydiff.tensor import Tensor
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


def test_draws_in_the_styles_of_scenes():
    """What the encoder finds in them, beside their maps, dealt out."""
    made, where = painter(), np.zeros((2, 16, 16), int)
    where[:, 4:12, :8], where[:, 4:12, 8:] = 1, 2
    scenes = np.zeros((2, 16, 16, 3), np.uint8)
    scenes[0], scenes[1] = (250, 20, 30), (10, 200, 90)
    found = made.styles(scenes, where.clip(max=1), where)
    assert found.shape == (2, 4, 2) and found.dtype == np.float32
    assert not found[:, 3].any(), "which no scene has"
    x = Tensor(asarray(to_float(scenes)))
    told = td.ops.concat([x, Tensor(one_hot(where.clip(max=1), 3))])
    with td.no_grad():
        moments = made.model.encoder(told, where).numpy()
    np.testing.assert_array_equal(found, moments[..., :2])

    like, seed = (scenes, where.clip(max=1), where), 5
    got = made.draw(maps(), like=like, rng=np.random.default_rng(seed))
    regions, rng = regions_of(maps()), np.random.default_rng(key(rng=np.random.default_rng(seed)))
    z = dealt(found, where, regions.max(axis=(1, 2)), rng)
    with td.no_grad():
        expected = to_uint8(made.model.generator(maps(), regions, asarray(z)).numpy())
    np.testing.assert_array_equal(got, expected)
    assert (got != made.draw(maps(), rng=np.random.default_rng(seed))).any()


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
    with pytest.raises(ValueError, match=r"at least one pixel, got shape \(0, 8, 8\)"):
        painter().draw(np.zeros((0, 8, 8), np.int64))
    with pytest.raises(ValueError, match="expected integers"):
        painter().draw(maps() / 2)
    with pytest.raises(ValueError, match="expected 0 … 3 in maps, got 2 … 4"):
        painter().draw(maps() + 2)
    scenes = np.zeros((4, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="expected 0 … 3 in maps, got 0 … 4"):
        painter().draw(maps(), like=(scenes, maps(), 2 * maps()))  # a fifth region
    with pytest.raises(ValueError, match="styles: expected 0 … 2 in maps, got 0 … 4"):
        painter().draw(maps(), like=(scenes, 2 * maps(), maps()))
    with pytest.raises(FileNotFoundError, match=r"train with examples/paint.py first"):
        Painter.load(tmp_path / "none.npz")
    td.save(tmp_path / "other.npz", {"settings": {}, "model": {}, "ema": None, "step": 1})
    with pytest.raises(CheckpointError, match="not a SPADE generator's"):
        Painter.load(tmp_path / "other.npz")
