"""What holds for all six: their doors, samples, likelihoods, and that each fits on two screens."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from losses import bytes_in

import tinydiff as td
from tinydiff import Tensor, generative
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion.likelihood import bits_per_dim
from tinydiff.generative import networks
from tinydiff.generative.build import BUILD, PLANE, RECIPES, trainer_of
from tinydiff.generative.model import GenerativeModel
from tinydiff.training import one_cycle_trainer

PICTURE = 8, 8, 1
SHAPES = pytest.mark.parametrize("shape", [PLANE, PICTURE], ids=["plane", "picture"])
KINDS = pytest.mark.parametrize("kind", BUILD)


def small(kind, shape):
    """A model that draws in few steps"""
    model = BUILD[kind](shape)
    if kind in ("energy", "diffusion"):
        model.evaluations = 4
    return model


@KINDS
@SHAPES
def test_learns_and_draws(kind, shape):
    model = small(kind, shape)
    x = np.float32(bytes_in(shape, 8))
    loss = model.loss(x)
    assert loss.shape == () and np.isfinite(loss.item())
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    drawn, again = (model.sample(3, rng=np.random.default_rng(5)) for _ in range(2))
    assert drawn.shape == (3, *shape) and drawn.dtype == np.float32
    assert np.isfinite(to_numpy(drawn)).all()
    np.testing.assert_array_equal(to_numpy(drawn), to_numpy(again))


@KINDS
@SHAPES
def test_tells_a_likelihood_or_that_there_is_none(kind, shape):
    model, x = BUILD[kind](shape).eval(), np.float32(bytes_in(shape, 4))
    if model.likelihood is None:
        with pytest.raises(NotImplementedError, match="no likelihood"):
            model.log_likelihood(x)
        return
    assert model.likelihood in ("exact", "bound")
    nats, again = (model.log_likelihood(x, rng=np.random.default_rng(5)) for _ in range(2))
    assert nats.shape == (4,) and nats.dtype == np.float64
    np.testing.assert_array_equal(nats, again)
    assert 4 < bits_per_dim(-nats.mean(), model.size) < 30, "of noise, before training"


@pytest.mark.parametrize("kind", ["vae", "autoregressive", "flow"])
def test_training_makes_what_it_has_seen_more_likely(kind):
    model = BUILD[kind](PLANE)
    x = np.float32(np.random.default_rng(0).integers(180, 200, (64, *PLANE)) / 127.5 - 1)
    before = model.log_likelihood(x).mean()
    trainer = one_cycle_trainer(model, model.loss, [(x,)] * 40, lr=5e-3, steps=40, clip=1.0)
    for _ in trainer.run(until=40):
        pass
    assert model.log_likelihood(x).mean() > before + 1


@KINDS
def test_is_trained_by_its_recipe(kind):
    """One cycle for all but the GAN, whose players go on at one rate, and forget sooner."""
    lr = RECIPES[kind][0][1]
    model, x = BUILD[kind](PLANE), np.float32(bytes_in(PLANE, 8))
    trainer = trainer_of(model, [(x, None)] * 2, lr, 2)
    records = list(trainer.run(until=2))
    assert all(np.isfinite(record.loss) for record in records)
    rates = {record.lr for record in records}
    assert rates == {lr} if kind == "gan" else len(rates) == 2
    assert trainer.ema.decay == (0.999 if kind == "gan" else 0)


def test_there_is_a_recipe_for_each():
    assert RECIPES.keys() == BUILD.keys()
    assert all(len(recipe) == 3 for two in RECIPES.values() for recipe in two)


@KINDS
def test_refuses_what_is_no_picture_of_its_shape(kind):
    model = BUILD[kind](PLANE)
    for wrong in (np.zeros((2, 2), np.float32), np.zeros((2, *PLANE), np.uint8)):
        with pytest.raises(ValueError, match=r"x: expected floats \(N, 1, 2, 1\)"):
            model.loss(wrong)


def test_the_door_of_a_shape():
    for wrong in ((1, 2), (0, 2, 1), (1, 2.0, 1)):
        with pytest.raises(ValueError, match="shape: expected"):
            GenerativeModel(wrong)
    model = GenerativeModel(PICTURE)
    assert model.size == 64
    for method, argument in ((model.loss, None), (model.sample, 1), (model.log_likelihood, None)):
        with pytest.raises(NotImplementedError, match="GenerativeModel"):
            method(argument)


@pytest.mark.parametrize(
    "make, complaint",
    [
        (lambda: generative.VAE(PLANE, None, None, 0), "VAE: latent is 0"),
        (lambda: generative.GAN(PLANE, None, None, 0, 0.1), "GAN: latent is 0"),
        (lambda: generative.GAN(PLANE, None, None, 2, -0.1), "GAN: noise is -0.1"),
        (lambda: generative.EnergyModel(PLANE, None, {"step": 1.0}, 1, 1, 0.1), "walk is"),
        (lambda: generative.EnergyModel(PLANE, None, {}, 0, 1, 0.1), "training is 0"),
        (lambda: generative.PixelCNN(PLANE, 4, 1, levels=1), "PixelCNN: levels is 1"),
        (lambda: generative.RealNVP((1, 1, 1), []), "shape: expected two pixels"),
        (lambda: generative.DiffusionModel(PLANE, None, None, 0), "DiffusionModel: steps is 0"),
        (lambda: networks.Shrinking((6, 8, 1), (1,), 4), "Shrinking: shape is"),
        (lambda: networks.Growing(2, (8, 6, 1), 4), "Growing: shape is"),
    ],
)
def test_doors_of_the_models(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


@KINDS
def test_weights_come_back(kind):
    td.seed(1)
    model, other = small(kind, PLANE), small(kind, PLANE)
    other.load_state_dict(model.state_dict())
    drawn, same = (m.eval().sample(3, rng=np.random.default_rng(0)) for m in (model, other))
    np.testing.assert_array_equal(to_numpy(drawn), to_numpy(same))


@pytest.mark.parametrize(
    "network",
    [
        lambda: networks.Dense(PICTURE, (3,), 4, 2),
        lambda: networks.Waves(64, 2),
        lambda: networks.Shrinking(PICTURE, (2,), 4),
        lambda: generative.PixelCNN(PICTURE, 4, 1),
    ],
)
def test_a_network_that_promises_it_looks_at_each_image_by_itself(network, rng):
    network = network()
    assert network.independent_images
    x = Tensor(asarray(rng.standard_normal((5, *PICTURE)), np.float32))
    together = to_numpy(network(x).data)
    np.testing.assert_allclose(to_numpy(network(x[3:4]).data)[0], together[3], atol=1e-5)


def test_each_is_at_most_150_lines():
    files = {
        inspect.getsourcefile(cls)
        for cls in vars(generative).values()
        if inspect.isclass(cls) and issubclass(cls, GenerativeModel)
    }
    assert len(files) == 1 + len(BUILD)
    for file in files:
        assert len(Path(file).read_text().splitlines()) <= 150, file
