"""The autoencoder's loss: as a likelihood, as a VAE's bound, and term by term."""

import math

import numpy as np
import pytest
from small import autoencoder, discriminator, pictures, vgg

import tinydiff as td
from tinydiff import Tensor
from tinydiff.autoencoding import Adversary, AutoencoderLoss, PerceptualDistance, laplace_nll
from tinydiff.backend import asarray, to_numpy


def test_is_the_likelihood_of_a_laplace_distribution():
    """−Σ ln p(x), p = exp(−|x − x̂|/b)/(2b), b = e^s, but for ln 2 a pixel; p integrates to 1."""
    x, x_hat = (to_numpy(pictures(2, (4, 5), np.float64, seed)) for seed in (1, 2))
    for s in (-2.0, 0.3):
        density = lambda r, s=s: np.exp(-np.abs(r) / math.exp(s)) / (2 * math.exp(s))
        grid = np.linspace(-60, 60, 600_001)
        assert density(grid).sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-6)
        expected = -np.log(density(x - x_hat)).sum(axis=(1, 2, 3)) - math.log(2) * x[0].size
        got = laplace_nll(asarray(x), Tensor(asarray(x_hat)), Tensor(asarray(np.array(s))))
        np.testing.assert_allclose(got.numpy(), expected)


def test_the_scale_learns_the_mean_error():
    x, x_hat = (pictures(4, (6, 6), np.float64, seed) for seed in (1, 2))
    error = np.abs(to_numpy(x) - to_numpy(x_hat)).mean()
    s = Tensor(asarray(np.array(math.log(error))), requires_grad=True)
    laplace_nll(x, Tensor(x_hat), s).sum().backward()
    assert to_numpy(s.grad) == pytest.approx(0, abs=1e-9)


def test_a_distance_is_added_to_each_pixel():
    x, x_hat = (pictures(2, (4, 4), np.float64, seed) for seed in (1, 2))
    d, s = np.array([0.2, 1.5]), 0.4
    none = laplace_nll(x, Tensor(x_hat), Tensor(asarray(np.array(s))))
    some = laplace_nll(x, Tensor(x_hat), Tensor(asarray(np.array(s))), Tensor(asarray(d)))
    np.testing.assert_allclose(some.numpy() - none.numpy(), 48 * d / math.exp(s))


def test_a_vae_is_the_special_case():
    """λ = 1 and no more: the negative bound, −ln p(x|z) + KL, in nats a picture."""
    model, x = autoencoder(dtype=np.float64), pictures(dtype=np.float64)
    td.seed(7)
    loss = AutoencoderLoss(model, cost_weight=1.0)(x).item()
    td.seed(7)
    posterior = model.posterior(x)
    x_hat = to_numpy(model.decode(posterior.sample()).data)
    b = math.exp(model.log_scale.item())
    log_p = (-np.abs(to_numpy(x) - x_hat) / b - math.log(2 * b)).sum(axis=(1, 2, 3))
    bound = (log_p - posterior.kl().numpy()).mean()
    assert loss == pytest.approx(-bound - math.log(2) * 16 * 16 * 3)


@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_all_terms_add_up(kind):
    model, x = autoencoder(kind, np.float64), pictures(dtype=np.float64)
    distance = PerceptualDistance(vgg(np.float64))
    adversary = Adversary(discriminator(np.float64), lr=1e-9)
    loss = AutoencoderLoss(
        model,
        cost_weight=0.3,
        perceptual=distance,
        perceptual_weight=0.7,
        adversary=adversary,
    )
    assert loss.states == {"adversary": adversary}
    td.seed(7)
    got = loss(x, "labels", None).item()
    td.seed(7)
    x_hat, cost = model.reconstruct(x)
    nll = laplace_nll(x, x_hat, model.log_scale, 0.7 * distance(x_hat, x)).mean()
    term = Adversary(discriminator(np.float64), lr=1e-9).term(nll, x, x_hat, model.head.weight)
    assert abs(term.item()) > 1e-3
    assert got == pytest.approx(nll.item() + 0.3 * cost.numpy().mean() + term.item())


def test_its_gradient_reaches_the_autoencoder_and_not_the_others():
    model = autoencoder()
    distance, judge = PerceptualDistance(vgg()), discriminator()
    before = judge.state_dict()
    loss = AutoencoderLoss(model, perceptual=distance, adversary=Adversary(judge))
    loss(pictures()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    assert to_numpy(model.encoder.body[0].weight.grad).any()
    assert all(p.grad is None for p in distance.parameters())
    assert any(not np.array_equal(a, before[n]) for n, a in judge.state_dict().items())


@pytest.mark.parametrize("name", ["cost_weight", "perceptual_weight"])
@pytest.mark.parametrize("weight", [-1, math.inf, math.nan])
def test_refuses_other_weights(name, weight):
    with pytest.raises(ValueError, match=f"{name}: expected a finite number ≥ 0"):
        AutoencoderLoss(autoencoder(), **{name: weight})
