"""examples/latent_diffusion.py: both spaces, its pictures, the comparison, what it refuses."""

import os
import re
import signal

import numpy as np
import pytest
from example_runs import call, everything_in, load, pixels
from PIL import Image
from small_scenes import small_classifiers

import tinydiff as td
from tinydiff import data, training
from tinydiff.autoencoding import Compressor
from tinydiff.diffusion import LatentPipeline, Pipeline
from tinydiff.training import whole_run

SIDE, SHOWN = 32, 4
FILES = {"samples.png", "denoising.gif", "loss.png", "log.jsonl", "checkpoint.npz"}
FEW = ("--steps", 3, "--scenes", 6)


@pytest.fixture(autouse=True, scope="module")
def _small():
    with small_classifiers():
        yield


def small_latent():
    """examples/latent_diffusion.py with small pictures and networks, and short sampling."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("latent_diffusion")
    module.SIDE, module.SHOWN, module.BATCH = SIDE, SHOWN, 2
    module.UNET.update(base_channels=8, channel_mults=(1, 2), num_res_blocks=1, norm_groups=4)
    module.UNET.update(attention_levels=(1,))
    module.SAMPLING["steps"] = 4
    return module


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    """The checkpoint of an autoencoder that has not learned anything."""
    network = {"latent_channels": 2, "base_channels": 8, "channel_mults": (1, 2), "norm_groups": 4}
    settings = {"image": (SIDE, SIDE, 3), "kind": "kl", "autoencoder": network, "steps": 1}
    td.seed(4)
    state = {"settings": settings, "step": 1, "model": Compressor(settings).model.state_dict()}
    path = tmp_path_factory.mktemp("autoencoder") / "checkpoint.npz"
    training.save(path, {**state, "ema": None})
    return path


@pytest.fixture(scope="module")
def runs(autoencoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    ways = (("--autoencoder", autoencoder), ("--pixels",))
    ended = [call(small_latent(), *FEW, *way, "--out", out) for way in ways]
    assert [e.status for e in ended] == [0, 0], ended
    return out, ended


def test_writes_what_it_promises(runs):
    out, ended = runs
    assert {path.name for path in out.iterdir()} == {"latent-diffusion", "pixel-diffusion"}
    for name, end in zip(("latent-diffusion", "pixel-diffusion"), ended, strict=True):
        assert everything_in(out / name) == FILES
        for file in ("samples.png", "denoising.gif", "loss.png"):
            assert file in end.out
        assert pixels(out / name / "samples.png").shape == (5 * 34 + 2, 4 * 34 + 2, 3)
        with Image.open(out / name / "denoising.gif") as film:
            assert film.n_frames == 2 and film.size == (2 * (2 * 34 + 2), 2 * (2 * 34 + 2))
    assert "latents (16, 16, 2), times" in ended[0].out
    assert "latents" not in ended[1].out


def test_each_is_what_it_is_called(runs, autoencoder):
    out, _ = runs
    latent = LatentPipeline.load(out / "latent-diffusion" / "checkpoint.npz")
    pixel = Pipeline.load(out / "pixel-diffusion" / "checkpoint.npz")
    assert latent.shape == (16, 16, 2) and pixel.shape == latent.image == (SIDE, SIDE, 3)
    assert (latent.model.unet.patch, pixel.model.patch) == (1, 2)
    scenes = data.shapes("train", 6, side=SIDE, objects=(1, 3))
    taken = Compressor.load(autoencoder)
    np.testing.assert_array_equal(latent.compressor(scenes.images), taken(scenes.images))
    first = next(iter(data.Batches(scenes, 2, flip=True)))[0]
    assert latent.encode(first).std() == pytest.approx(1, rel=1e-4)


def test_draws_what_the_pipeline_draws(runs):
    out, _ = runs
    table = pixels(out / "latent-diffusion" / "samples.png")
    pipeline = LatentPipeline.load(out / "latent-diffusion" / "checkpoint.npz")
    rng = np.random.default_rng(0)
    drawn = pipeline.draw(20, sampler="ddpm", steps=4, rng=rng)
    np.testing.assert_array_equal(table[2:34, 36:68], drawn[1])


def test_the_second_time_it_only_draws(runs, autoencoder, monkeypatch):
    out, _ = runs
    before = {name: (out / "latent-diffusion" / name).read_bytes() for name in FILES}
    module = small_latent()
    monkeypatch.setattr(module, "train", None)
    ended = call(module, *FEW, "--autoencoder", autoencoder, "--out", out)
    assert ended.status == 0, ended.err
    for name, content in before.items():
        assert (out / "latent-diffusion" / name).read_bytes() == content, name


def test_stopped_and_gone_on_with_it_ends_the_same(runs, autoencoder, tmp_path):
    train, options = training.train, (*FEW, "--autoencoder", autoencoder, "--out", tmp_path)

    def stopped(*given, **settings):
        for record in train(*given, **settings):
            yield record
            if record.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_run, "train", stopped)
        assert "after step 2 of 3" in call(small_latent(), *options).error()
    assert call(small_latent(), *options).status == 0
    for name in ("checkpoint.npz", "samples.png"):
        one, two = (root / "latent-diffusion" / name for root in (tmp_path, runs[0]))
        assert one.read_bytes() == two.read_bytes(), name


def test_compares_runs(runs):
    out, _ = runs
    folders = [out / "latent-diffusion", out / "pixel-diffusion"]
    ended = call(small_latent(), "--compare", *folders, "--count", 40, "--out", out)
    assert ended.status == 0, ended.err
    number = r"-?\d+\.\d{4} ± \d+\.\d{4}"
    for name in ("latent", "pixel"):
        times = r"3 steps of \d+ ms, \d+\.\d minutes; \d+ ms a scene"
        line = rf"^{name}-diffusion: {times}; Fréchet distance {number}$"
        assert re.search(line, ended.out, re.MULTILINE), ended.out
    for what in ("  its autoencoder alone", "as many other scenes"):
        assert len(re.findall(rf"^{what}: Fréchet distance {number}$", ended.out, re.M)) == 1
    assert pixels(out / "latent-or-pixel.png").shape[0] > 3 * 34


def test_a_run_is_compared_by_the_steps_it_has_taken(tmp_path):
    train = training.train

    def two_steps(trainer, steps, *given, **settings):
        return train(trainer, 2, *given, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_run, "train", two_steps)
        assert call(small_latent(), *FEW, "--pixels", "--out", tmp_path).status == 0
    half = tmp_path / "pixel-diffusion"
    ended = call(small_latent(), "--compare", half, "--count", 40, "--out", tmp_path)
    assert re.search(r"^pixel-diffusion: 2 steps of \d+ ms", ended.out, re.MULTILINE), ended


def test_refuses_in_one_sentence(runs, autoencoder, here):
    no_autoencoder = call(small_latent(), *FEW).error()
    assert "runs/autoencoder-kl-adversary/checkpoint.npz does not exist" in no_autoencoder
    assert "train with examples/autoencoder.py first" in no_autoencoder
    other = runs[0] / "pixel-diffusion" / "checkpoint.npz"
    assert "but not an autoencoder's" in call(small_latent(), "--autoencoder", other).error()
    half = training.load(autoencoder)
    training.save("half.npz", {**half, "settings": {**half["settings"], "steps": 2}})
    assert "is half trained, 1 of 2" in call(small_latent(), "--autoencoder", "half.npz").error()
    missing = call(small_latent(), "--compare", "nothing").error()
    assert "nothing/checkpoint.npz does not exist" in missing
    wrong = call(small_latent(), "--compare", autoencoder.parent).error()
    assert "a checkpoint, but not a diffusion model's" in wrong
    state = training.load(other)
    state["settings"]["image"] = (8, 8, 3)
    training.save("checkpoint.npz", state)
    small = call(small_latent(), "--compare", other.parent, ".").error()
    assert small.endswith("draws pictures (8, 8, 3), not scenes of 32 × 32")
    assert everything_in(here) == {"half.npz", "checkpoint.npz"}
    options = ("--autoencoder", autoencoder, "--out", runs[0], "--steps", 4, "--scenes", 6)
    assert "steps is 4, was 3" in call(small_latent(), *options).error()
