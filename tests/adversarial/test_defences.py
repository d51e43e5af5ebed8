"""Losses that make a network hard to fool: closed forms, gradients, and what they leave alone."""

from functools import partial

import numpy as np
import pytest
from attacked_nets import affine, some_pictures, stripes, untrained

import tinydiff as td
from tinydiff import adversarial, metrics, nn, ops
from tinydiff.adversarial import adversarial_loss, gradient_penalty_loss, squeezing_loss
from tinydiff.adversarial.training import FAST, GROWING, PGD
from tinydiff.backend import asarray, to_numpy
from tinydiff.data import Dataset
from tinydiff.models import Classifier
from tinydiff.tensor import Tensor

GREY = 0.5  # far from black and white
LOSSES = {
    "pgd": partial(adversarial_loss, eps=0.1, **PGD),
    "fast": partial(adversarial_loss, eps=0.1, **FAST),
    "gradient": partial(gradient_penalty_loss, weight=0.7),
    "squeezing": partial(squeezing_loss, weight=0.3),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))


def grey_pictures(rng, n=6):
    return GREY + 0.05 * rng.standard_normal((n, 3, 3, 2)), rng.integers(0, 5, n)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# Closed forms.  Of an affine network Z = Wᵀ(2x − 1) + b of pictures x in [0, 1]


@pytest.mark.parametrize("attack", [PGD, FAST], ids=["pgd", "fast"])
@pytest.mark.parametrize("done", [1.0, GROWING, GROWING / 4])
def test_the_worst_case_of_two_classes(attack, done, rng):
    """ln(1 + exp(−(Z_y − Z_o) + ε‖∇(Z_y − Z_o)‖₁)), with as much of ε as has grown"""
    network, weight, bias = affine(rng, classes=2)
    weight *= 0.2
    network.linear.weight.data[...] = asarray(weight)
    x, y = grey_pictures(rng)
    y = y % 2
    eps = 0.05 * min(1, done / GROWING)
    attack = attack | {"step": 2.0}  # from anywhere to the corner
    got = adversarial_loss(network, asarray(x), y, done, eps=0.05, **attack)
    z = (2 * x.reshape(6, -1) - 1) @ weight + bias
    ahead = np.where(y == 0, 1, -1) * (z[:, 0] - z[:, 1])
    lost = eps * np.abs(2 * (weight[:, 0] - weight[:, 1])).sum()
    np.testing.assert_allclose(got.item(), np.log1p(np.exp(-ahead + lost)).mean(), rtol=1e-10)


def test_the_slope_of_an_affine_network(rng):
    """∇L = 2W(p − 1_y), and the rest by its formula; for small h the penalty is λ mean ‖∇L‖²"""
    network, weight, bias = affine(rng)
    x, y = grey_pictures(rng)

    def probabilities(x):
        return softmax((2 * x.reshape(6, -1) - 1) @ weight + bias)

    p = probabilities(x)
    g = (2 * (p - np.eye(5)[y]) @ weight.T).reshape(x.shape)
    size = np.sqrt((g * g).sum(axis=(1, 2, 3), keepdims=True))
    for h in (0.1, 1e-6):
        ahead = probabilities(x + h * g / size)
        here, there = (-np.log(q[np.arange(6), y]) for q in (p, ahead))
        expected = here.mean() + 0.7 * (((there - here) / h) ** 2).mean()
        got = gradient_penalty_loss(network, asarray(x), y, weight=0.7, h=h).item()
        assert got == pytest.approx(expected, rel=1e-9)
    assert got == pytest.approx(here.mean() + 0.7 * (size**2).mean(), rel=1e-4)


def test_squeezing_by_its_formula(rng):
    network, weight, bias = affine(rng)
    x, y = grey_pictures(rng)
    got = squeezing_loss(
        network, asarray(x), y, weight=0.3, sigma=0.4, rng=np.random.default_rng(5)
    )
    noise = 0.4 * np.random.default_rng(5).standard_normal(x.shape)
    noisy = np.clip(x + noise, 0, 1)
    assert (noisy == 0).any() and (noisy == 1).any()
    z = (2 * noisy.reshape(6, -1) - 1) @ weight + bias
    expected = -np.log(softmax(z)[np.arange(6), y]).mean() + 0.3 * (z * z).sum(axis=1).mean()
    assert got.item() == pytest.approx(expected, rel=1e-9)


# Gradients


@every_loss
def test_gradient_of_each_weight(loss, rng):
    """Against differences of the whole loss, attack and direction included.

    An attack's signs do not change with the weights; the steepest slope not to first order.
    """
    td.seed(2)
    network = Classifier(2, 4, widths=(8, 8), dropout=0.0).astype(np.float64)
    x, y = some_pictures(rng, 3, dtype=np.float64)
    tolerance, step, seeded = 1e-6, 1e-6, True
    if loss.func is gradient_penalty_loss:
        loss, tolerance, step, seeded = partial(loss, h=1e-4), 1e-3, 1e-5, False

    def value():
        return loss(network, x, y, **({"rng": np.random.default_rng(1)} if seeded else {}))

    value().backward()
    for name, p in network.named_parameters():
        way = asarray(rng.standard_normal(p.shape))
        expected = float((p.grad * way).sum())
        ends = []
        for sign in (1, -1):
            p.data[...] = p.data + sign * step * way
            ends.append(value().item())
            p.data[...] = p.data - sign * step * way
        got = (ends[0] - ends[1]) / (2 * step)
        assert got == pytest.approx(expected, rel=tolerance, abs=1e-7), name


@every_loss
def test_leaves_mode_and_pictures_alone(loss, rng):
    network = untrained().model
    x, y = some_pictures(rng)
    before = to_numpy(x).copy()
    network.body.eval()
    modes = [m.training for m in network.modules()]
    value = loss(network, x, y)
    assert value.shape == () and value.dtype == np.float32
    assert modes == [m.training for m in network.modules()]
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    np.testing.assert_array_equal(to_numpy(x), before)
    value.backward()
    assert all(p.grad is not None for p in network.parameters())


class Recorder(nn.Module):
    """A network that keeps what it learns from: what it is given with a graph in training."""

    def __init__(self, network):
        self.network, self.learned = network, []

    def forward(self, x):
        if self.network.training:
            self.learned.append(to_numpy(x.data))
        return self.network(x)


@pytest.mark.parametrize("done", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("attack", [PGD, FAST], ids=["pgd", "fast"])
def test_learns_from_attacks_that_stay_in_the_ball(attack, done, rng):
    x, y = some_pictures(rng, 20)
    network = Recorder(untrained().model)
    adversarial_loss(network, x, y, done, eps=0.2, rng=rng, **attack)
    (z,) = network.learned
    z = (z.astype(np.float64) + 1) / 2
    far = np.abs(z - to_numpy(x)).max(axis=(1, 2, 3))
    eps = 0.2 * min(1, done / GROWING)
    assert z.min() >= 0 and z.max() <= 1
    assert (far <= eps + 1e-7).all() and (far > 0.9 * eps).all()


def test_a_step_is_a_share_of_as_much_of_eps_as_has_grown(rng, monkeypatch):
    asked = []
    monkeypatch.setattr(
        adversarial.training, "pgd", lambda model, x, y, **settings: asked.append(settings) or x
    )
    for done in (GROWING / 2, 1.0):
        adversarial_loss(
            untrained().model, *some_pictures(rng), done, eps=0.2, steps=3, step=0.4, rng=rng
        )
    half, whole = asked
    assert half == {"eps": 0.1, "steps": 3, "step": pytest.approx(0.04), "rng": rng}
    assert whole == {"eps": 0.2, "steps": 3, "step": pytest.approx(0.08), "rng": rng}


def test_the_loss_moves_running_statistics_and_the_attack_does_not(rng):
    x, y = some_pictures(rng)
    norm = nn.BatchNorm2d(2)
    network = Recorder(nn.Sequential(norm, nn.Flatten(), nn.Linear(72, 4)))
    adversarial_loss(network, x, y, eps=0.2, rng=rng, **PGD)
    (z,) = network.learned
    once = nn.BatchNorm2d(2)
    once(asarray(z))
    np.testing.assert_array_equal(to_numpy(norm.running_mean), to_numpy(once.running_mean))
    np.testing.assert_array_equal(to_numpy(norm.running_var), to_numpy(once.running_var))


def test_the_attack_sees_no_dropout_and_the_loss_does(rng):
    x, y = some_pictures(rng)
    network = untrained().model
    assert network.dropout.p > 0

    def values(loss):
        losses = [loss(network, x, y, rng=np.random.default_rng(0)).item() for _ in range(2)]
        return losses

    td.seed(0)
    first, second = values(LOSSES["pgd"])
    assert first != second
    network.eval()
    first, second = values(LOSSES["pgd"])
    assert first == second


# In a run


def a_data_set(n=32):
    x, y = stripes(n, 0)
    return Dataset("stripes", (x[..., :1] * 255).astype(np.uint8), y, ("lying", "standing"))


def recipe(loss, **settings):
    network = {"widths": (8, 16), "dropout": 0.0}
    return {"batch_size": 8, "lr": 2e-2, "loss": loss, "loss_settings": settings, **network}


RUNS = {
    "pgd": recipe(adversarial_loss, eps=0.1, steps=2, step=0.8),
    "gradient": recipe(gradient_penalty_loss, weight=0.01),
    "squeezing": recipe(squeezing_loss, weight=0.01),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_stopped_goes_on_with_the_same_bits(name, tmp_path, monkeypatch):
    td.seed(0)
    metrics.train_classifier(a_data_set(), tmp_path / "whole", epochs=3, **RUNS[name])
    td.seed(0)
    trainer = metrics.classifying.classifier_trainer(a_data_set(), 12, **RUNS[name])
    for _ in trainer.run(until=5):
        pass
    whole = td.load(tmp_path / "whole" / "checkpoint.npz")
    settings = whole["settings"]
    assert settings["recipe"]["loss"]["name"] == RUNS[name]["loss"].__name__
    assert settings["recipe"]["loss"].items() >= RUNS[name]["loss_settings"].items()
    td.save(tmp_path / "part" / "checkpoint.npz", {"settings": settings, **trainer.state_dict()})
    td.seed(99)
    metrics.train_classifier(a_data_set(), tmp_path / "part", epochs=3, **RUNS[name])
    again = td.load(tmp_path / "part" / "checkpoint.npz")
    assert again["step"] == whole["step"] == 12
    for part in ("model", "ema", "optimiser", "random"):
        np.testing.assert_equal(again[part], whole[part])


def test_a_run_of_another_loss_is_not_gone_on_with(tmp_path):
    metrics.train_classifier(a_data_set(), tmp_path, epochs=1, **RUNS["gradient"])
    with pytest.raises(ValueError, match=r"recipe is .*squeezing_loss"):
        metrics.train_classifier(a_data_set(), tmp_path, epochs=1, **RUNS["squeezing"])
    with pytest.raises(ValueError, match=r"noise is 0\.1, expected 0 where there is another loss"):
        metrics.train_classifier(a_data_set(), tmp_path, noise=0.1, **RUNS["squeezing"])


def test_the_loss_is_told_how_far_the_run_is():
    seen = []

    def loss(network, x, labels, done):
        assert float(x.min()) >= 0 and float(x.max()) <= 1
        seen.append(done)
        return ops.cross_entropy(network(x), labels)

    trainer = metrics.classifying.classifier_trainer(
        a_data_set(), 8, batch_size=8, loss=loss, widths=(8,)
    )
    assert len(list(trainer.run(until=8))) == 8
    assert seen == [k / 8 for k in range(1, 9)]


def test_makes_a_network_that_is_harder_to_fool():
    """At ε 0.3, nearly the stripes' contrast, what was trained as usual sees nothing."""
    x, y = stripes(200, 1)
    x = x[..., :1]
    right = {}
    settings = {
        "usual": {},
        "pgd": {"loss": adversarial_loss, "loss_settings": {"eps": 0.12, **PGD}},
    }
    for name, more in settings.items():
        td.seed(0)
        network = {"widths": (8, 16), "dropout": 0.0, "batch_size": 16, "lr": 2e-2}
        trainer = metrics.classifying.classifier_trainer(a_data_set(128), 60, **network, **more)
        for _ in trainer.run(until=60):
            pass
        model = adversarial.on_pictures(trainer.model)
        found = adversarial.carried_out(
            adversarial.pgd, model, x, y, eps=0.12, steps=10, rng=np.random.default_rng(0)
        )
        right[name] = (found.seen == y).mean()
    assert right["pgd"] > right["usual"] + 0.3, right


# Refusals

REFUSED = [
    (adversarial_loss, {"eps": 0, **PGD}, "eps is 0"),
    (adversarial_loss, {"eps": 0.1, "steps": 0, "step": 1.0}, "steps is 0"),
    (adversarial_loss, {"eps": 0.1, "steps": 1, "step": -1.0}, "step is -1"),
    (adversarial_loss, {"eps": 0.1, **PGD, "done": 0}, "done is 0"),
    (gradient_penalty_loss, {"weight": -1.0}, "weight is -1"),
    (gradient_penalty_loss, {"weight": 1.0, "h": 0}, "h is 0"),
    (squeezing_loss, {"weight": 0}, "weight is 0"),
    (squeezing_loss, {"weight": 1.0, "sigma": 0}, "sigma is 0"),
]


@pytest.mark.parametrize(("loss", "settings", "message"), REFUSED)
def test_refuses_settings_that_make_no_sense(loss, settings, message, rng):
    with pytest.raises(ValueError, match=message):
        loss(untrained().model, *some_pictures(rng), **settings)


@every_loss
def test_refuses_what_are_no_pictures(loss, rng):
    network = untrained().model
    x, y = some_pictures(rng)
    with pytest.raises(ValueError, match=r"expected pictures in \[0, 1\]"):
        loss(network, 2 * x - 1, y)
    with pytest.raises(TypeError, match="expected floats"):
        loss(network, (255 * x).astype(np.uint8), y)
    with pytest.raises(TypeError, match="model: expected a Module, got function"):
        loss(lambda x: Tensor(x), x, y)
