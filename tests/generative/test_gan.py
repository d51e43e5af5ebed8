"""Two players: the critic's optimum in closed form, and that neither moves the other."""

import numpy as np
import pytest
from losses import assert_gradient, bytes_in

import tinydiff as td
from tinydiff import Tensor, nn, ops, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.generative import GAN
from tinydiff.generative.gan import critic_loss, generator_loss
from tinydiff.generative.networks import Dense
from tinydiff.training import Trainer

P, Q = np.array([4, 3, 2, 1]), np.array([1, 2, 3, 4])  # how often each of four things comes


def small_gan(noise=0.1):
    shape = 2, 2, 1
    return GAN(shape, Dense((3,), shape, 8, 1), Dense(shape, (1,), 8, 1), 3, noise)


def test_the_best_critic_knows_the_ratio_of_the_densities():
    """−V(D*) = 2 ln 2 − 2 JS(p, q), and its gradient is zero there: section 4.1 of the paper"""
    p, q = P / P.sum(), Q / Q.sum()
    middle = (p + q) / 2
    js = 0.5 * (p * np.log(p / middle)).sum() + 0.5 * (q * np.log(q / middle)).sum()
    logits = Tensor(np.log(p / q), requires_grad=True)
    real, fake = (np.repeat(np.arange(4), counts) for counts in (P, Q))
    loss = critic_loss(logits[real], logits[fake])
    loss.backward()
    assert loss.item() == pytest.approx(2 * np.log(2) - 2 * js, abs=1e-12)
    np.testing.assert_allclose(to_numpy(logits.grad), 0, atol=1e-12)
    expected = -np.log(p / (p + q))[fake].mean()
    assert generator_loss(logits[fake]).item() == pytest.approx(expected)


class OfFourThings(GAN):
    """Draws what comes as often as Q says; a thing is a picture with one of four pixels lit."""

    def draw(self, z):
        return Tensor(things(Q))


def things(counts):
    one_hot = np.eye(4, dtype=np.float32)[np.repeat(np.arange(4), counts)]
    return asarray(one_hot.reshape(-1, 2, 2, 1))


def test_trained_the_critic_comes_to_its_optimum():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    model = OfFourThings((2, 2, 1), nn.Linear(3, 4), critic, 3, noise=0.0)
    batches = [(things(P),)] * 300
    trainer = Trainer(model, model.loss, batches, optim.Adam(critic.parameters(), lr=0.05))
    for _ in trainer.run(until=300):
        pass
    np.testing.assert_allclose(to_numpy(critic[1].weight.data)[:, 0], np.log(P / Q), atol=2e-3)


def test_neither_moves_the_other():
    """The gradient of the sum is each player's own, as if there were two losses."""
    model = small_gan().astype(np.float64)
    x = asarray(bytes_in((2, 2, 1), 5))
    td.seed(1)
    model.loss(x).backward()
    found = [to_numpy(p.grad).copy() for p in model.parameters()]

    td.seed(1)
    drawn = model.draw(td.backend.randn((5, 3), dtype=np.float64))
    for_generator = generator_loss(model.critic(model.noisy(drawn)))
    real, fake = model.noisy(Tensor(x)), model.noisy(drawn.detach())
    for_critic = critic_loss(model.critic(real), model.critic(fake))
    own = td.grad(for_generator, list(model.generator.parameters()))
    own += td.grad(for_critic, list(model.critic.parameters()))
    assert len(found) == len(own)
    for a, b in zip(found, own, strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(a, to_numpy(b), rtol=1e-10)
    assert all(p.requires_grad for p in model.parameters())


def test_gradients_of_both_losses():
    model = small_gan().astype(np.float64)
    x = asarray(bytes_in((2, 2, 1), 5))
    z = asarray(np.random.default_rng(0).standard_normal((5, 3)))
    assert_gradient(
        model.critic.parameters(),
        lambda: critic_loss(model.critic(Tensor(x)), model.critic(model.draw(z).detach())),
    )
    assert_gradient(
        model.generator.parameters(), lambda: generator_loss(model.critic(model.draw(z)))
    )


def test_what_it_draws_are_pictures():
    drawn = to_numpy(small_gan().sample(7, rng=np.random.default_rng(0)))
    assert drawn.shape == (7, 2, 2, 1)
    assert np.abs(drawn).max() < 1
    with pytest.raises(NotImplementedError, match="GAN has no likelihood"):
        small_gan().log_likelihood(np.float32(bytes_in((2, 2, 1), 2)))


def test_the_critic_sees_through_noise():
    model, x = small_gan(noise=0.3), Tensor(asarray(np.zeros((5000, 2, 2, 1), np.float32)))
    assert to_numpy(model.noisy(x).data).std() == pytest.approx(0.3, rel=0.02)
    assert ops.square(model.noisy(x)).mean().item() == pytest.approx(0.09, rel=0.04)
