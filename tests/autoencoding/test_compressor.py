"""The compressor: there and back, bits, a run in a folder that is gone on with, refusals."""

import copy
import math

import numpy as np
import pytest
from small import NETWORK, SETTINGS, autoencoder, pictures, trainer

import tinydiff as td
from tinydiff import training
from tinydiff.autoencoding import Compressor
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float, to_uint8
from tinydiff.training import CheckpointError, HalfTrained, train

IMAGES = np.random.default_rng(3).integers(0, 256, (5, 16, 8, 3), dtype=np.uint8)


def compressor(kind="kl"):
    codes = {"codes": 8} if kind == "vq" else {}
    made = Compressor({**SETTINGS, "kind": kind, "autoencoder": {**NETWORK, **codes}})
    made.model = autoencoder(kind)
    return made


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_there_and_back_is_what_the_network_says(kind):
    made = compressor(kind)
    with td.no_grad():
        z = made.model.encode(asarray(to_float(IMAGES)))
        x_hat = to_uint8(to_numpy(made.model.decode(z).data))
    latents = made.encode(IMAGES)
    assert latents.dtype == np.float32 and latents.shape == (5, 8, 4, 2)
    np.testing.assert_allclose(latents, z.numpy(), atol=1e-6)
    assert made(IMAGES).dtype == np.uint8
    np.testing.assert_allclose(made(IMAGES).astype(int), x_hat, atol=1)
    np.testing.assert_array_equal(made.decode(latents), made(IMAGES))


def test_many_pictures_go_through_in_parts(monkeypatch):
    made, whole = compressor(), compressor()(IMAGES)
    monkeypatch.setattr("tinydiff.autoencoding.compressor.BATCH", 2)
    np.testing.assert_allclose(made(IMAGES).astype(int), whole, atol=1)


def test_bits():
    made = compressor()
    kl = made.model.posterior(asarray(to_float(IMAGES))).kl().numpy()
    np.testing.assert_allclose(made.bits(IMAGES), kl / math.log(2), rtol=1e-5)
    np.testing.assert_array_equal(compressor("vq").bits(IMAGES), np.full(5, 8 * 4 * 3))
    for kind in ("kl", "vq"):
        with pytest.raises(TypeError, match="expected a NumPy array"):
            compressor(kind).bits([1])


@pytest.fixture(scope="module", params=["kl", "vq"])
def run(request, tmp_path_factory):
    folder, kind = tmp_path_factory.mktemp("runs") / "autoencoder", request.param
    codes = {"codes": 8} if kind == "vq" else {}
    settings = {**SETTINGS, "kind": kind, "autoencoder": {**NETWORK, **codes}}
    made = trainer(kind)
    records = list(train(made, 6, folder, settings=settings))
    return folder, kind, settings, made, records


def test_comes_back_from_its_run_with_averaged_weights(run):
    folder, _, settings, made, records = run
    assert [r.step for r in records] == [1, 2, 3, 4, 5, 6]
    loaded = Compressor.load(folder / "checkpoint.npz", finished=True)
    assert loaded.settings["kind"] == settings["kind"]
    with made.ema.swapped():
        expected = made.model.eval().state_dict()
    for name, array in loaded.model.state_dict().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_stopped_and_gone_on_with_it_ends_the_same(run, tmp_path):
    """Model, codes, opponent and its optimiser: all bits, though the opponent comes at step 3."""
    _, kind, settings, made, records = run
    list(train(trainer(kind), 4, tmp_path, settings=settings))
    td.seed(99)
    again = trainer(kind)
    rest = list(train(again, 6, tmp_path, settings=settings))
    assert [(r.step, r.loss) for r in rest] == [(r.step, r.loss) for r in records[4:]]
    a, b = made.state_dict(), again.state_dict()
    assert b["states"]["adversary"]["steps"] == 6 and b["states"]["adversary"]["optimiser"]
    assert same(a, b)


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return np.array_equal(a, b)  # of texts and lists too


def test_a_copied_trainer_has_an_opponent_of_its_own():
    first = trainer(start=0)
    next(first.run(until=1))
    second = copy.deepcopy(first)
    [one] = first.run(until=2)
    [two] = second.run(until=2)
    assert one.loss == two.loss
    assert same(first.state_dict(), second.state_dict())
    judges = [t.states["adversary"].discriminator for t in (first, second)]
    assert judges[0] is not judges[1]
    assert second.loss.adversary is second.states["adversary"]


def test_refuses_what_is_no_run_of_an_autoencoder(run, tmp_path):
    folder = run[0]
    with pytest.raises(FileNotFoundError, match=r"train with examples/autoencoder\.py first"):
        Compressor.load(tmp_path / "none.npz")
    state = training.load(folder / "checkpoint.npz")
    for name, change in (("other", {"classes": ["a"]}), ("kind", {**state["settings"], "kind": 1})):
        training.save(tmp_path / f"{name}.npz", {**state, "settings": change})
        with pytest.raises(CheckpointError, match="a checkpoint, but not an autoencoder's"):
            Compressor.load(tmp_path / f"{name}.npz")
    training.save(tmp_path / "half.npz", {**state, "step": 3})
    with pytest.raises(HalfTrained, match="3 of 6"):
        Compressor.load(tmp_path / "half.npz", finished=True)
    Compressor.load(tmp_path / "half.npz")


def test_refuses_other_settings_and_pictures():
    with pytest.raises(ValueError, match="they lack autoencoder"):
        Compressor({"image": (8, 8, 3), "kind": "kl"})
    with pytest.raises(ValueError, match="kind: expected one of kl, vq, got 'ae'"):
        Compressor({**SETTINGS, "kind": "ae"})
    made = compressor()
    with pytest.raises(ValueError, match="decode: expected latents, got none"):
        made.decode(made.encode(IMAGES)[:0])
    with pytest.raises(ValueError, match="H and W divisible by 2"):
        made(IMAGES[:, :15])
    with pytest.raises(TypeError, match="expected a NumPy array"):
        made([1])
    with pytest.raises(ValueError, match="z has shape"):
        made.decode(to_numpy(pictures()))
