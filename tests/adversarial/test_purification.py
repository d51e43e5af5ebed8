"""Purification of Gaussian data, where what is drawn is known, and what backward makes of it."""

from functools import partial

import numpy as np
import pytest
from attacked_nets import Affine, affine, some_pictures, untrained

import tinydiff as td
from tinydiff import adversarial
from tinydiff.adversarial import Purified
from tinydiff.adversarial.network import loss_gradient
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule, denoiser, sdedit
from tinydiff.diffusion.mixture import GaussianMixture
from tinydiff.nn import Module

SCHEDULE = NoiseSchedule.cosine(1000)
MEAN, DEVIATION = (
    0.3,
    0.15,
)  # of the data, in [−1, 1]: so far from both ends that nothing is clipped


class Itself(Module):
    """A model whose logits are the pixels"""

    def forward(self, x):
        return x.reshape(len(x), -1)


def ideal(x, t):
    """The denoiser of pixels ~ N(MEAN, DEVIATION²), whatever shape they come in"""
    network = GaussianMixture([1], [[MEAN]], DEVIATION).ideal_network(SCHEDULE)
    denoise = denoiser(network, GaussianDiffusion(SCHEDULE))
    return denoise(x.reshape(-1, 1), np.repeat(t, x.size // len(x))).reshape(x.shape)


def purified(strength, *, model=None, seed=0, **how):
    film = partial(sdedit, ideal, schedule=SCHEDULE, strength=strength, **how)
    return Purified(model or Itself(), film, rng=np.random.default_rng(seed))


def moments(strength, x):
    """Of what is drawn for x: mean, deviation, and that of a single step, which is E[x₀ | x_t]

    x₀ | x_t is Gaussian with mean MEAN + c (x_t − a MEAN) and variance (1 − c a) DEVIATION²,
    c = a s²/(a² s² + σ²); and x_t is a x + σ ε.
    """
    a, sigma = SCHEDULE.signal_and_sigma(round(1000 * strength) - 1)
    c = a * DEVIATION**2 / (a**2 * DEVIATION**2 + sigma**2)
    mean = MEAN + c * a * (x - MEAN)
    return mean, np.sqrt((c * sigma) ** 2 + (1 - c * a) * DEVIATION**2), c * sigma


@pytest.mark.parametrize("strength", [0.05, 0.1, 0.4, 0.9])
def test_of_gaussian_data_the_pure_picture_is_an_affine_map_and_noise(strength):
    x = np.array([0.1, 0.4])  # in [−1, 1]
    mean, deviation, of_one_step = moments(strength, x)
    asked = asarray((np.tile(x[:, None, None, None], (1, 60, 60, 1)) + 1) / 2)
    for steps, wanted in ((300, deviation), (1, of_one_step)):
        drawn = 2 * to_numpy(purified(strength, steps=steps).purify(asked)) - 1
        np.testing.assert_allclose(drawn.mean(axis=(1, 2, 3)), mean, atol=4 * deviation / 60)
        np.testing.assert_allclose(drawn.std(axis=(1, 2, 3)), wanted, rtol=0.06)


def test_without_noise_it_is_the_identity_and_all_noise_leaves_nothing():
    x = asarray(0.65 + 0.05 * np.random.default_rng(0).standard_normal((2, 20, 20, 1)))
    errors = [
        float(xp.abs(purified(strength, steps=200).purify(x) - x).mean())
        for strength in (1e-9, 0.03, 0.1, 0.3)
    ]
    assert errors[0] < 0.003 and errors == sorted(errors), errors
    other = xp.flip(x, axis=0)
    for strength, same in ((0.001, False), (1.0, True)):
        one, two = (to_numpy(purified(strength, steps=20).purify(p)) for p in (x, other))
        assert np.allclose(one, two, atol=1e-3) == same


def test_in_backward_purification_is_the_identity(rng):
    """BPDA: the gradient of the model, at the pure picture, handed on as it is."""
    model, weight, bias = affine(rng)
    x, y = asarray(rng.uniform(0.3, 0.7, (6, 3, 3, 2))), rng.integers(0, 5, 6)
    whole = purified(0.3, model=model, steps=3)
    pure = to_numpy(purified(0.3, steps=3).purify(x))  # of the same seed
    logits = pure.reshape(6, -1) @ weight + bias
    np.testing.assert_allclose(whole(x).numpy(), logits, atol=1e-12)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    share = e / e.sum(axis=1, keepdims=True) - (y[:, None] == np.arange(5))
    got = loss_gradient(purified(0.3, model=model, steps=3), x, y)
    np.testing.assert_allclose(to_numpy(got), (share @ weight.T).reshape(x.shape), atol=1e-12)


class Chance(Module):
    """Affine networks that take turns"""

    def __init__(self, models):
        self.turn = iter(models)

    def forward(self, x):
        return next(self.turn)(x)


def test_draws_are_a_mean_of_gradients(rng):
    models = [affine(rng)[0] for _ in range(3)]
    x, y = asarray(rng.random((4, 3, 3, 2))), rng.integers(0, 5, 4)
    each = [to_numpy(loss_gradient(model, x, y)) for model in models]
    got = loss_gradient(Chance(models), x, y, draws=3)
    np.testing.assert_allclose(to_numpy(got), np.mean(each, axis=0), atol=1e-14)
    # PGD goes by it: the first model is asked at the door.
    z = adversarial.pgd(
        Chance([models[0], *models]), x, y, eps=0.2, steps=1, step=0.01, draws=3, random_start=False
    )
    expected = np.clip(to_numpy(x) + 0.01 * np.sign(np.mean(each, axis=0)), 0, 1)
    np.testing.assert_allclose(to_numpy(z), expected, atol=1e-12)


def test_measures_and_attacks_work_on_it(rng):
    x, y = some_pictures(rng, 8)
    whole = purified(0.2, model=untrained(), steps=2)
    before = to_numpy(x).copy()
    got = adversarial.carried_out(adversarial.pgd, whole, x, y, eps=0.1, steps=2, draws=2, rng=rng)
    assert got.pictures.dtype == np.float32 and got.linf.max() <= 0.1
    np.testing.assert_array_equal(to_numpy(x), before)
    assert whole.model.training, "as it was"


def test_a_seed_decides_the_noise(rng):
    x, _ = some_pictures(rng)
    results = [to_numpy(purified(0.3, seed=seed, steps=2).purify(x)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(*results[:2])
    assert not np.array_equal(results[0], results[2])
    state = td.backend.rng.bit_generator.state
    whole = purified(0.3, steps=2)
    first, again = (to_numpy(whole.purify(x)) for _ in range(2))
    assert not np.array_equal(first, again), "fresh noise"
    assert td.backend.rng.bit_generator.state == state


def test_it_is_a_picture_whatever_the_film_ends_with(rng):
    x = asarray(rng.random((2, 3, 3, 1), np.float32))
    whole = Purified(Itself(), lambda x, rng: iter([x, 3 * x]))
    got = to_numpy(whole.purify(x))
    np.testing.assert_allclose(got, np.clip((3 * (2 * to_numpy(x) - 1) + 1) / 2, 0, 1), rtol=1e-6)
    assert got.dtype == np.float32


def test_removes_what_leads_away_from_the_data():
    """Pictures of two pixels; the second hardly ever varies, and the network looks at it most."""
    mixture = GaussianMixture([1, 1], [[-0.5, 0], [0.5, 0]], [[0.05, 0.01]] * 2)
    denoise = denoiser(mixture.ideal_network(SCHEDULE), GaussianDiffusion(SCHEDULE))

    def film(x, rng):
        flat = x.reshape(-1, 2)
        for step in sdedit(denoise, flat, SCHEDULE, strength=0.06, steps=10, rng=rng):
            yield step.reshape(x.shape)

    rng, y = np.random.default_rng(0), np.arange(40) % 2
    x = asarray((np.stack([0.25 + 0.5 * y, np.full(40, 0.5)], 1)).reshape(40, 1, 1, 2))
    weight = np.array([[-1.0, 1.0], [-10.0, 10.0]])
    model = Affine(weight, -weight.sum(axis=0) / 2)
    whole = Purified(model, film, rng=rng)
    for attacked in (model, whole):
        changed = adversarial.carried_out(adversarial.pgd, attacked, x, y, eps=0.1, rng=rng)
        assert (adversarial.classes_seen(model, changed.pictures) != y).all()
        assert (adversarial.classes_seen(whole, changed.pictures) == y).all()
        far = to_numpy(whole.purify(asarray(changed.pictures)))[..., 1] - 0.5
        assert np.abs(changed.pictures[..., 1] - 0.5).min() > 0.09 > 0.02 > np.abs(far).max()


def test_refuses_what_is_no_network():
    with pytest.raises(TypeError, match="model: expected a Module, got builtin_function_or"):
        Purified(len, sdedit)
    with pytest.raises(TypeError, match="film: expected a function, got generator"):
        Purified(Itself(), (x for x in ()))
    with pytest.raises(ValueError, match="film: expected pictures, the last of them pure, got non"):
        Purified(Itself(), lambda x, rng: iter(()))(asarray(np.full((1, 2, 2, 1), 0.5)))
    with pytest.raises(ValueError, match=r"x: expected pictures in \[0, 1\]"):
        adversarial.pgd(purified(0.3), asarray(np.full((1, 2, 2, 1), -0.5)), [0], eps=0.1)
