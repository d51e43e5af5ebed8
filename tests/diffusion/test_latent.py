"""Latent diffusion: the scale, the way there and back, what learns, a run in a folder, refusals."""

import math

import numpy as np
import pytest

import tinydiff as td
from tinydiff import data, optim
from tinydiff.autoencoding import Compressor
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.diffusion import (
    LatentBatches,
    LatentPipeline,
    Pipeline,
    denoiser,
    load_pipeline,
    sample_ddim,
)
from tinydiff.images import to_float
from tinydiff.training import CheckpointError, Trainer, load, save, train

NETWORK = {"latent_channels": 2, "base_channels": 8, "channel_mults": (1, 2), "norm_groups": 4}
COMPRESSOR = {"image": [8, 8, 3], "kind": "kl", "autoencoder": NETWORK}
SETTINGS = {
    "image": [8, 12, 3],
    "classes": [],
    "compressor": COMPRESSOR,
    "unet": dict(
        base_channels=8,
        channel_mults=(1,),
        num_res_blocks=1,
        attention_levels=(),
        norm_groups=4,
    ),
    "schedule": ["cosine", 40],
    "prediction": "v",
    "steps": 4,
}
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 12, 3), dtype=np.uint8)


def pipeline(**settings) -> LatentPipeline:
    """One whose last layers say something: as they begin, they are zeros."""
    td.seed(0)
    made = LatentPipeline(SETTINGS | settings)
    for p in made.model.parameters():
        if not to_numpy(p.data).any():
            p.data[...] = 0.2 * randn(p.shape)
    made.measure_scale(IMAGES)
    return made


def test_latents_are_measured_to_have_a_deviation_of_one():
    made = pipeline()
    raw = made.compressor.encode(IMAGES)
    assert float(made.model.scale) == pytest.approx(1 / raw.std(), rel=1e-5)
    z = made.encode(IMAGES)
    assert made.shape == z.shape[1:] == (4, 6, 2) and made.image == (8, 12, 3)
    assert z.std() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(z, raw / raw.std(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(made.encode(to_float(IMAGES)), z)
    made.measure_scale(IMAGES)  # again: not on top of the first
    assert float(made.model.scale) == pytest.approx(1 / raw.std(), rel=1e-5)


def test_there_and_back_is_the_autoencoders():
    made = pipeline()
    assert abs(float(made.model.scale) - 1) > 0.05
    again = made.pictures(asarray(made.encode(IMAGES)))
    assert again.dtype == np.uint8
    np.testing.assert_allclose(again.astype(int), made.compressor(IMAGES), atol=1)


def test_draws_latents_without_bounds_and_decodes_them():
    made = pipeline()
    drawn = made.draw(3, sampler="ddim", steps=5, rng=np.random.default_rng(1))
    rng = np.random.default_rng(1)
    noise = randn((3, 4, 6, 2), rng=rng)
    denoise = denoiser(made.model.unet.eval(), made.diffusion)
    *_, z = sample_ddim(denoise, noise, made.diffusion.schedule, steps=5, clip=False)
    assert np.abs(to_numpy(z)).max() > 1
    expected = made.compressor.decode(to_numpy(z) / float(made.model.scale))
    np.testing.assert_allclose(drawn.astype(int), expected, atol=1)
    assert drawn.shape == (3, 8, 12, 3)
    batches = made.draw(3, sampler="ddim", steps=5, rng=np.random.default_rng(1), batch=2)
    assert batches.shape == drawn.shape


@pytest.mark.parametrize("flip", [False, True])
def test_batches_are_the_latents_of_what_batches_give(flip):
    made = pipeline()
    labels = np.arange(12) % 3
    pictures = data.Batches(data.Dataset("a", IMAGES, labels, tuple("abc")), 4, seed=2, flip=flip)
    latents = LatentBatches(pictures, made)
    assert len(latents) == 3
    for step in (0, 2, 7):
        (x, y), (z, told) = pictures[step], latents[step]
        assert z.dtype == np.float32
        np.testing.assert_allclose(z, made.encode(x), atol=1e-5)
        np.testing.assert_array_equal(y, told)


def test_only_the_unet_learns():
    made = pipeline()
    made.diffusion.training_loss(made.model, asarray(made.encode(IMAGES))).backward()
    for name, parameter in made.model.named_parameters():
        assert (parameter.grad is not None) == name.startswith("unet."), name


TEXT = {"length": 3, "width": 8, "depth": 1, "heads": 2}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"classes": ["a", "b"]}, [0, 1]),
        ({"words": ["a", "b"], "unet": {**SETTINGS["unet"], "text": TEXT}}, ["a b", "b"]),
        ({"map_classes": ["a"]}, np.arange(48).reshape(2, 4, 6) // 24),  # of latents
        ({"unet": {**SETTINGS["unet"], "embedding": 3}}, np.eye(3, dtype=np.float32)[:2]),
    ],
    ids=["labels", "captions", "maps", "vectors"],
)
def test_is_told_what_pipelines_are(settings, told):
    made = pipeline(**settings)
    cond = told if made.tokenizer is None else made.tokenizer.encode(told)
    td.seed(3)
    z = asarray(made.encode(IMAGES[:2]))
    loss = made.diffusion.training_loss(made.model, z, cond=np.array(cond))
    assert math.isfinite(loss.item())
    drawn, other = (
        made.draw(2, each, steps=2, guidance=2.0, rng=np.random.default_rng(0))
        for each in (told, told[::-1])
    )
    assert drawn.shape == (2, 8, 12, 3) and (drawn != other).any()
    names = {name.split(".")[0] for name in made.model.state_dict()}
    assert names == {"unet", "autoencoder", "scale"}


def test_one_point_in_pictures_is_one_in_latents():
    """Where the network knows that all pictures are the same, that one is drawn, decoded."""
    made = pipeline()
    z0 = asarray(made.encode(IMAGES[:1]))

    def know(z, t, cond=None):
        alpha, sigma = made.diffusion.schedule.signal_and_sigma(t)
        a, s = (asarray(c.reshape(-1, 1, 1, 1), z.dtype) for c in (alpha, sigma))
        eps = (z.data - a * z0) / s
        return td.Tensor(a * eps - s * z0)  # v

    made.model.forward = know
    drawn = made.draw(2, sampler="ddim", steps=8, rng=np.random.default_rng(2))
    expected = made.compressor(IMAGES[:1])
    np.testing.assert_allclose(drawn.astype(int), np.repeat(expected, 2, 0), atol=2)


def trained(folder, steps=4):
    made = pipeline()
    model = made.model
    trainer = Trainer(
        model,
        lambda z, _: made.diffusion.training_loss(model, z),
        LatentBatches(data.Batches(data.Dataset("noise", IMAGES), 4, seed=1, flip=True), made),
        optim.AdamW(model.parameters()),
        ema=optim.EMA(model, 0.5),
    )
    list(train(trainer, steps, folder, settings=SETTINGS))
    return made, trainer


def test_its_checkpoint_holds_all_of_it(tmp_path):
    made, trainer = trained(tmp_path)
    loaded = LatentPipeline.load(tmp_path / "checkpoint.npz")
    assert loaded.settings["compressor"]["autoencoder"]["latent_channels"] == 2
    before = pipeline().model.state_dict()
    with trainer.ema.swapped():
        expected = made.model.state_dict()
        for name, array in loaded.model.state_dict().items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
            learned = name.startswith("unet.")
            assert learned or np.array_equal(array, before[name]), f"{name} has changed"
        drawn = made.draw(2, steps=3, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(loaded.draw(2, steps=3, rng=np.random.default_rng(0)), drawn)


def test_a_pipeline_is_loaded_as_what_it_is(tmp_path):
    trained(tmp_path, steps=1)
    path = tmp_path / "checkpoint.npz"
    assert type(load_pipeline(path)) is LatentPipeline
    settings = {name: value for name, value in SETTINGS.items() if name != "compressor"}
    weights = Pipeline(settings).model.state_dict()
    save(path, {"settings": settings, "step": 1, "model": weights, "ema": None})
    assert type(load_pipeline(path)) is Pipeline
    save(path, {"settings": {"classes": []}, "step": 1, "model": {}, "ema": None})
    with pytest.raises(CheckpointError, match="not a diffusion model's"):
        load_pipeline(path)
    with pytest.raises(FileNotFoundError, match=r"train with examples/ddpm\.py first"):
        load_pipeline(tmp_path / "none.npz")


def test_takes_a_trained_autoencoder():
    td.seed(9)
    compressor, made = Compressor(COMPRESSOR), pipeline()
    made.take_autoencoder(compressor)
    np.testing.assert_array_equal(made.compressor(IMAGES), compressor(IMAGES))
    assert not any(p.requires_grad for p in made.model.autoencoder.parameters())
    other = {**COMPRESSOR, "autoencoder": {**NETWORK, "base_channels": 16}}
    with pytest.raises(ValueError, match="KLAutoencoder"):
        made.take_autoencoder(Compressor(other))


def test_refusals(tmp_path):
    for settings in ({"shift": 1}, {"pad": 2}):
        batches = data.Batches(data.Dataset("noise", IMAGES), 4, **settings)
        with pytest.raises(ValueError, match="batches: expected no shift and no pad"):
            LatentBatches(batches, pipeline())
    with pytest.raises(ValueError, match=r"threshold is 0\.9, but latents have no bounds"):
        pipeline().draw(1, steps=2, threshold=0.9)
    with pytest.raises(ValueError, match="they lack compressor"):
        LatentPipeline({k: v for k, v in SETTINGS.items() if k != "compressor"})
    for image in ([8, 9, 3], [7, 8, 3], [8, 8, 1]):
        with pytest.raises(ValueError, match="image: expected sides divisible by 2 and 3 channels"):
            LatentPipeline({**SETTINGS, "image": image})
    trained(tmp_path)
    path = tmp_path / "checkpoint.npz"
    with pytest.raises(CheckpointError, match="not a diffusion model's"):
        Pipeline.load(path)
    with pytest.raises(FileNotFoundError, match=r"train with examples/latent_diffusion\.py first"):
        LatentPipeline.load(tmp_path / "none.npz")
    state = load(path)
    save(path, {**state, "settings": {**state["settings"], "compressor": COMPRESSOR | {"kind": 0}}})
    with pytest.raises(CheckpointError, match="not a latent diffusion model's"):
        LatentPipeline.load(path)
