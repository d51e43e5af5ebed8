"""The opponent: hinge losses, the adaptive weight, the late start, and that it learns."""

import math

import numpy as np
import pytest
from small import autoencoder, discriminator, pictures

import tinydiff as td
from tinydiff import Tensor, nn, ops
from tinydiff.autoencoding import (
    Adversary,
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
)
from tinydiff.backend import asarray, to_numpy


def logits(*values):
    return Tensor(asarray(np.array(values, np.float64)), requires_grad=True)


def test_hinge_losses():
    real, fake = logits(2.0, 0.5, -1.0), logits(-3.0, 0.0)
    loss = hinge_discriminator_loss(real, fake)
    assert loss.item() == pytest.approx(0.5 * ((0 + 0.5 + 2) / 3 + (0 + 1) / 2))
    loss.backward()
    np.testing.assert_allclose(to_numpy(real.grad), [0, -1 / 6, -1 / 6])
    np.testing.assert_allclose(to_numpy(fake.grad), [0, 1 / 4])
    assert hinge_generator_loss(fake).item() == 1.5


def test_the_adaptive_weight_is_a_ratio_of_norms():
    """Of two losses that are linear in the last layer, whose gradients one can write down."""
    layer = nn.Linear(3, 2).astype(np.float64)
    x = asarray(np.random.default_rng(0).standard_normal((4, 3)))
    y = layer(Tensor(x))
    first, second = (3 * y).sum(), (y * asarray(np.array([0.1, 0.0]))).sum()
    sums = to_numpy(x).sum(axis=0)
    a = math.sqrt(2) * 3 * np.linalg.norm(sums)
    b = 0.1 * np.linalg.norm(sums)
    got = float(adaptive_weight(first, second, layer.weight))
    assert got == pytest.approx(a / (b + 1e-4))
    assert layer.weight.grad is None
    (first + second).backward()  # the graph is still there
    assert to_numpy(layer.weight.grad).any()


def test_the_adaptive_weight_has_a_limit():
    layer = nn.Linear(1, 1, bias=False)
    y = layer(Tensor(asarray(np.ones((1, 1), np.float32))))
    assert float(adaptive_weight(5e3 * y.sum(), 0 * y.sum(), layer.weight)) == 1e4


def test_both_losses_pull_as_hard_at_the_last_layer():
    model, x = autoencoder(dtype=np.float64), pictures(dtype=np.float64)
    adversary = Adversary(discriminator(np.float64), weight=0.5)
    x_hat, _ = model.reconstruct(x)
    nll = ops.l1_loss(x_hat, x)
    term = adversary.term(nll, x, x_hat, model.head.weight)
    pulls = [
        np.linalg.norm(to_numpy(td.grad(loss, model.head.weight, retain_graph=True)))
        for loss in (nll, term)
    ]
    ratio = pulls[1] / pulls[0]
    assert 0.3 < ratio < 0.5  # 10⁻⁴ in the denominator takes away a little
    g = np.linalg.norm(pulls[0]) / float(adaptive_weight(nll, term, model.head.weight))
    assert ratio == pytest.approx((g - 1e-4) / pulls[0], rel=1e-6)


def test_before_its_time_it_does_nothing():
    model, x = autoencoder(), pictures()
    adversary = Adversary(discriminator(), start=2)
    before = adversary.discriminator.state_dict()
    for step in (1, 2, 3):
        x_hat, _ = model.reconstruct(x)
        term = adversary.term(ops.l1_loss(x_hat, x), x, x_hat, model.head.weight)
        after = adversary.discriminator.state_dict()
        same = all(np.array_equal(a, before[n]) for n, a in after.items())
        assert adversary.steps == step and same == (step <= 2)
        assert (isinstance(term, float) and term == 0) == (step <= 2)


def test_the_discriminator_gets_no_gradient_of_what_it_says_to_the_autoencoder():
    model, x = autoencoder(), pictures()
    adversary = Adversary(discriminator())
    x_hat, _ = model.reconstruct(x)
    term = adversary.term(ops.l1_loss(x_hat, x), x, x_hat, model.head.weight)
    learned = [to_numpy(p.grad).copy() for p in adversary.discriminator.parameters()]
    term.backward()
    for parameter, gradient in zip(adversary.discriminator.parameters(), learned, strict=True):
        assert parameter.requires_grad
        np.testing.assert_array_equal(to_numpy(parameter.grad), gradient)
    assert to_numpy(model.head.weight.grad).any()


def test_it_learns_to_tell_pictures_from_blurred_ones():
    real = pictures(8)
    fake = ops.resize_bilinear2d(ops.resize_bilinear2d(Tensor(real), size=(6, 6)), size=(16, 16))
    adversary = Adversary(discriminator(), lr=2e-3)
    for _ in range(30):
        adversary.learn(real, fake.data)
    with td.no_grad():
        assert adversary.discriminator(real).mean().item() > 0.3
        assert adversary.discriminator(fake).mean().item() < -0.3


def test_its_state_is_all_of_it():
    model, x = autoencoder(), pictures()

    def step(adversary):
        td.seed(3)
        x_hat, _ = model.reconstruct(x)
        return adversary.term(ops.l1_loss(x_hat, x), x, x_hat, model.head.weight).item()

    first = Adversary(discriminator())
    step(first)
    td.seed(9)
    second = Adversary(type(first.discriminator)(3, base_channels=4, layers=1))
    second.load_state_dict(first.state_dict())
    assert second.steps == 1
    assert [step(first), step(first)] == [step(second), step(second)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": -1}, "start: expected a number of steps ≥ 0, got -1"),
        ({"start": 1.5}, "start: expected a number of steps ≥ 0, got 1.5"),
        ({"weight": -0.1}, "weight: expected a finite number ≥ 0, got -0.1"),
        ({"weight": math.inf}, "weight: expected a finite number ≥ 0, got inf"),
        ({"lr": -1.0}, "lr is -1.0"),
    ],
)
def test_refuses_other_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Adversary(discriminator(), **settings)
