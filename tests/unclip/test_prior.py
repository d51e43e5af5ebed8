"""The prior, on pairs for which what it should answer is known in closed form.

    c of length √d,  z = A c + s n,  z_t = α z + σ ε,  n, ε ~ N(0, I):  z is Gaussian given z_t, c,

    E[z given z_t, c] = m + S α (α² S + σ² I)⁻¹ (z_t − α m),    m = A c,  S = s² I

and, if nothing is known of c, the best that is linear in z_t has m = 0 and S = A Aᵀ + s² I.
"""

import functools

import numpy as np
import pytest
from small_parts import prior

import tinydiff as td
from tinydiff import Tensor, nn, training
from tinydiff.backend import asarray, to_numpy
from tinydiff.unclip import Prior
from tinydiff.unclip.matcher import on_sphere

D, S = 4, 0.5
A = np.random.default_rng(0).standard_normal((D, D)) / 2


def ideal(diffusion, z_t, t, c, *, known=True):
    alpha, sigma = (each[:, None, None] for each in diffusion.schedule.signal_and_sigma(t))
    mean = c @ A.T if known else 0 * c
    cov = S**2 * np.eye(D) + (0 if known else A @ A.T)
    seen = np.linalg.inv(alpha**2 * cov + sigma**2 * np.eye(D))
    return mean + np.einsum("ij,njk,nk->ni", cov, alpha * seen, z_t - alpha[:, 0] * mean)


class Pairs:
    def __getitem__(self, step):
        rng = np.random.default_rng([1, step])
        c = on_sphere(rng.standard_normal((256, D)))
        z = c @ A.T + S * rng.standard_normal((256, D))
        return z.astype(np.float32), step


@functools.cache
def learned() -> Prior:
    """A small prior that has learned from such pairs."""
    made = prior(D, width=32, depth=1, heads=2)

    def loss(z, step):
        c = on_sphere(np.random.default_rng([1, step]).standard_normal((256, D)))
        return made.training_loss(z, c.astype(np.float32))

    trainer = training.one_cycle_trainer(made.model, loss, Pairs(), lr=1e-2, steps=400, averaged=5)
    for _ in trainer.run(until=400):
        pass
    made.model.load_state_dict(training.run.trained_weights(trainer.state_dict()))
    made.model.eval()
    return made


def noised(made, step, n=2000):
    """c, z, z_t and t of so many pairs."""
    rng = np.random.default_rng(2)
    c = on_sphere(rng.standard_normal((n, D)))
    z, t = c @ A.T + S * rng.standard_normal((n, D)), np.full(n, step)
    noise = asarray(rng.standard_normal((n, D)))
    return c, z, to_numpy(made.diffusion.q_sample(asarray(z), t, noise)), t


def ask(made, z_t, t, c):
    with td.no_grad():
        return made.model(asarray(z_t, np.float32), t, asarray(c, np.float32)).numpy()


def squared(a, b=0.0):
    return ((a - b) ** 2).mean()


@pytest.mark.parametrize("step", [5, 40, 75, 99])
def test_it_learns_what_can_be_known(step):
    made = learned()
    c, z, z_t, t = noised(made, step)
    assert squared(ask(made, z_t, t, c), ideal(made.diffusion, z_t, t, c)) < 0.05 * squared(z)


@pytest.mark.parametrize("step", [40, 75])
def test_zeros_mean_that_nothing_is_known_not_that_the_caption_is_zero(step):
    made = learned()
    c, _, z_t, t = noised(made, step)
    wanted = ideal(made.diffusion, z_t, t, c, known=False)
    got = ask(made, z_t, t, 0 * c)
    assert squared(got, wanted) < squared(got, ideal(made.diffusion, z_t, t, 0 * c)) / 2


class Ideal(nn.Module):
    embedding = D

    def __init__(self, diffusion):
        self.diffusion = diffusion

    def forward(self, z, t, cond):
        known = bool(to_numpy(cond).any())
        said = ideal(self.diffusion, z.numpy(), to_numpy(t), to_numpy(cond), known=known)
        return Tensor(asarray(said, np.float32))


def test_the_ideal_network_draws_what_pictures_with_the_caption_have():
    """Directions are spread around A c as z is."""
    made, rng = prior(D), np.random.default_rng(3)
    made.model = Ideal(made.diffusion)
    c = on_sphere(rng.standard_normal((3000, D))).astype(np.float32)
    drawn = made.draw(c, candidates=1, steps=100, rng=np.random.default_rng(0))
    real = on_sphere(c @ A.T + S * rng.standard_normal(c.shape))
    np.testing.assert_allclose(squared(drawn), 1, rtol=1e-4)
    cosines = [(z * on_sphere(c @ A.T)).mean(axis=1) for z in (drawn, real)]
    for moment in (np.mean, np.std):
        assert abs(moment(cosines[0]) - moment(cosines[1])) < 0.03, cosines


def test_of_several_the_nearest_to_the_caption_is_taken():
    made, c = prior(), on_sphere(np.random.default_rng(0).standard_normal((4, 6)))
    c = c.astype(np.float32)
    each = made.draw(np.repeat(c, 3, axis=0), candidates=1, rng=np.random.default_rng(5))
    each = each.reshape(4, 3, 6)
    best = [
        max(some, key=lambda z, told=told: z @ told) for some, told in zip(each, c, strict=True)
    ]
    got = made.draw(c, candidates=3, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(got, best)


class Told(nn.Module):
    """Answers with what it is told, as a network that predicts z."""

    embedding = 2

    def forward(self, z, t, cond):
        return Tensor(asarray(cond))


def test_guidance_goes_beyond_what_is_told():
    """x̂_0 = w c, since nothing is 0: all directions stay, and the scale is that of the sphere."""
    made, c = prior(2), np.array([[1.0, 0.5], [0.2, -1.0]], np.float32)
    made.model = Told()
    for guidance in (1.0, 3.0):
        drawn = made.draw(c, guidance=guidance, rng=np.random.default_rng(0))
        np.testing.assert_allclose(drawn, on_sphere(c), atol=1e-4)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: Prior({"embedding": 2}), ValueError, "settings: they lack prior, schedule"),
        (lambda: prior().draw(np.ones((2, 5))), ValueError, r"cond: expected vectors \(N, 6\)"),
        (lambda: prior().draw(np.ones((2, 6), int)), TypeError, "cond: expected floats, got int"),
        (
            lambda: prior().draw(np.ones((2, 6)), candidates=0),
            ValueError,
            "candidates is 0, expected an int ≥ 1",
        ),
        (
            lambda: Prior({"embedding": 2, "prior": {}, "schedule": ("cubic", 10)}),
            ValueError,
            "schedule: expected one of",
        ),
    ],
)
def test_refuses(ask, error, message):
    with pytest.raises(error, match=message):
        ask()
