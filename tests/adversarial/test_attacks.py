"""Each attack against the closed form of an affine network, and what is its own."""

import math

import numpy as np
import pytest
from attacked_nets import affine, some_pictures, stripes, trained, undecided, untrained

import tinydiff as td
from tinydiff import adversarial, kernels, ops, optim
from tinydiff.adversarial.ball import (
    length,
)
from tinydiff.adversarial.network import logits_of, margin
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.data import Batches, Dataset
from tinydiff.images import to_float
from tinydiff.models import Classifier
from tinydiff.team import team_of
from tinydiff.training import Trainer

GREY = 0.5  # around it there is room for every ε below


def grey_pictures(rng, n=7):
    """Pictures (n, 3, 3, 2) far from black and white."""
    return GREY + 0.05 * rng.standard_normal((n, 3, 3, 2))


def logits(x, weight, bias):
    return x.reshape(len(x), -1) @ weight + bias


def test_pictures_meet_the_network_as_it_has_learned_them(rng):
    network = Classifier(2, 4, widths=(8, 16)).eval()
    bytes_ = rng.integers(0, 256, (5, 8, 8, 2), dtype=np.uint8)
    got = adversarial.on_pictures(network)(asarray(to_float(bytes_, (0, 1))))
    np.testing.assert_array_equal(got.numpy(), network(asarray(to_float(bytes_))).numpy())
    with pytest.raises(TypeError, match="model: expected a Module, got function"):
        adversarial.on_pictures(lambda x: x)


def test_first_pictures_are_floats_in_0_1_of_all_classes():
    x, y = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1) * 20, np.arange(12) // 6
    some, labels = adversarial.first_pictures(Dataset("sorted", x, y, ("a", "b")), 8)
    assert some.dtype == np.float32 and len(some) == 8 and set(labels) == {0, 1}
    np.testing.assert_allclose(some, x[np.rint(some * 255 / 20).astype(int).reshape(-1)] / 255)
    np.testing.assert_array_equal(labels, np.rint(some * 255 / 20).reshape(-1) // 6)
    assert len(adversarial.first_pictures(Dataset("sorted", x, y, ("a", "b")), 20)[0]) == 12


# Along the gradient


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss_gradient(x, y, weight, bias):
    p = softmax(logits(x, weight, bias))
    return ((p - np.eye(weight.shape[1])[y]) @ weight.T).reshape(x.shape)


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_is_one_step_along_the_sign(targeted, rng):
    model, weight, bias = affine(rng)
    x, y = grey_pictures(rng), rng.integers(0, 5, 7)
    way = -1 if targeted else 1
    expected = x + way * 0.07 * np.sign(loss_gradient(x, y, weight, bias))
    got = adversarial.fgsm(model, asarray(x), y, eps=0.07, targeted=targeted)
    np.testing.assert_allclose(to_numpy(got), expected, atol=1e-14)
    again = adversarial.pgd(
        model, asarray(x), y, eps=0.07, steps=1, step=0.07, random_start=False, targeted=targeted
    )
    np.testing.assert_array_equal(to_numpy(again), to_numpy(got))


@pytest.mark.parametrize("norm", [2, math.inf])
def test_pgd_of_two_classes_goes_straight_to_the_rim(norm, rng):
    model, weight, _ = affine(rng, classes=2)
    x, y = grey_pictures(rng), rng.integers(0, 2, 7)
    w = (weight[:, 1] - weight[:, 0]).reshape(3, 3, 2)
    unit = np.sign(w) if norm == math.inf else w / np.linalg.norm(w)
    expected = x + 0.1 * np.where(y == 0, 1, -1)[:, None, None, None] * unit
    got = adversarial.pgd(model, asarray(x), y, eps=0.1, norm=norm, steps=10, random_start=False)
    np.testing.assert_allclose(to_numpy(got), expected, atol=1e-12)


def test_momentum_by_its_formula(rng):
    model, weight, bias = affine(rng)
    x, y = grey_pictures(rng), rng.integers(0, 5, 7)
    z, g = x, 0
    for _ in range(6):
        slope = loss_gradient(z, y, weight, bias)
        g = 0.7 * g + slope / np.abs(slope).sum(axis=(1, 2, 3), keepdims=True)
        z = x + np.clip(z + 0.03 * np.sign(g) - x, -0.1, 0.1)
    settings = {"eps": 0.1, "steps": 6, "step": 0.03, "random_start": False}
    got = adversarial.pgd(model, asarray(x), y, momentum=0.7, **settings)
    np.testing.assert_allclose(to_numpy(got), z, atol=1e-12)
    without = to_numpy(adversarial.pgd(model, asarray(x), y, **settings))
    assert not np.allclose(without, z)


def test_restarts_are_for_those_that_are_not_fooled_yet(monkeypatch):
    model, (x, y) = trained(), stripes(40, 1)
    other = np.roll(x, 1, axis=0)  # whose classes are the others

    asked = []

    def half_of_them(some, *_):
        """A start that fools the model, for every other picture."""
        asked.append(len(some))
        places = [int(np.abs(x - to_numpy(one)).sum(axis=(1, 2, 3)).argmin()) for one in some]
        starts = to_numpy(some).copy()
        starts[::2] = other[places[::2]]
        return asarray(starts)

    monkeypatch.setattr(adversarial.gradient, "drawn_within", half_of_them)
    z = adversarial.pgd(model, asarray(x), y, restarts=4, eps=1.0, steps=1, step=1e-6)
    assert asked == [40, 20, 10, 5]
    assert (adversarial.classes_seen(model, z) == y).sum() == 2
    asked.clear()
    adversarial.pgd(model, asarray(x), y, restarts=9, eps=1.0, steps=1, step=1e-6)
    assert asked == [40, 20, 10, 5, 2, 1], "then all are fooled"


def test_ascent_by_its_formula(rng):
    """Of an affine network: as many steps of length η along w_target as it takes."""
    model, weight, bias = affine(rng)
    x, aim = grey_pictures(rng, 20), rng.integers(0, 5, 20)
    got = to_numpy(adversarial.gradient_ascent(model, asarray(x), aim, step=0.05))
    taken = set()
    for picture, k, result in zip(x, aim, got, strict=True):
        w, z, n = weight[:, k].reshape(picture.shape), picture, 0
        while logits(z[None], weight, bias).argmax() != k and n < 100:
            z, n = np.clip(z + 0.05 * w / np.linalg.norm(w), 0, 1), n + 1
        np.testing.assert_allclose(result, z, atol=1e-12)
        taken.add(n)
    assert {0, 100} < taken and len(taken) > 4
    few = adversarial.gradient_ascent(model, asarray(x), aim, step=0.05, steps=2)
    assert float(length(few - asarray(x), 2).max()) == pytest.approx(0.1)


# The smallest change


def nearest_boundary(x, weight, bias):
    """Of an affine network, with unlimited brightness: distance and direction, in closed form."""
    z = logits(x, weight, bias)
    first = z.argmax(axis=1)
    found = []
    for n, k0 in enumerate(first):
        others = [k for k in range(z.shape[1]) if k != k0]
        w = [weight[:, k] - weight[:, k0] for k in others]
        far = [(z[n, k0] - z[n, k]) / np.linalg.norm(v) for k, v in zip(others, w, strict=True)]
        best = int(np.argmin(far))
        found.append((far[best], w[best] / np.linalg.norm(w[best])))
    return first, *map(np.array, zip(*found, strict=True))


def near_pictures(rng, weight, bias):
    """Pictures whose nearest boundary is nearer than black and white."""
    x = grey_pictures(rng, 60)
    bias -= logits(np.full((1, 3, 3, 2), GREY), weight, bias)[0]
    _, far, way = nearest_boundary(x, weight, bias)
    beyond = x.reshape(len(x), -1) + 1.1 * far[:, None] * way
    return x[(np.abs(beyond - 0.5) < 0.4).all(axis=1)]


def test_deepfool_is_the_closed_form_of_an_affine_network(rng):
    model, weight, bias = affine(rng)
    x = near_pictures(rng, weight, bias)
    model.linear.bias.data[...] = asarray(bias)
    first, far, way = nearest_boundary(x, weight, bias)
    for overshoot in (0.02, 0.1):
        got = to_numpy(adversarial.deepfool(model, asarray(x), first, overshoot=overshoot))
        r = (1 + overshoot) * (far + 1e-4)[:, None] * way
        np.testing.assert_allclose(got, x + r.reshape(x.shape), atol=1e-8)
    assert (adversarial.classes_seen(model, asarray(got)) != first).all()


def test_deepfool_asks_only_about_candidates_and_those_not_fooled(rng, monkeypatch):
    model, (x, y) = trained(), stripes(40, 1)
    asked = []
    step = adversarial.deepfool.__globals__["_step"]

    def watched(model, x, classes):
        asked.append(classes.shape)
        return step(model, x, classes)

    monkeypatch.setitem(adversarial.deepfool.__globals__, "_step", watched)
    wrong = np.where(np.arange(40) < 10, 1 - y, y)  # the model sees something else already
    z = adversarial.deepfool(model, x, wrong)
    np.testing.assert_array_equal(to_numpy(z)[:10], x[:10])
    counts = [n for n, _ in asked]
    assert counts[0] == 30 and counts == sorted(counts, reverse=True) and counts[-1] < 30
    asked.clear()
    adversarial.deepfool(untrained(), *some_pictures(rng), candidates=3)
    assert {k for _, k in asked} == {3}


def test_carlini_wagner_comes_near_to_the_closed_form(rng):
    model, weight, bias = affine(rng)
    x = near_pictures(rng, weight, bias)[:6]
    model.linear.bias.data[...] = asarray(bias)
    first, far, _ = nearest_boundary(x, weight, bias)
    z = adversarial.carlini_wagner(model, asarray(x), first, steps=400, lr=0.002)
    assert (adversarial.classes_seen(model, z) != first).all()
    reached = to_numpy(length(z - asarray(x), 2)).reshape(-1)
    assert (reached >= far).all()
    assert np.median(reached / far) < 1.01 and (reached / far).max() < 1.1


def test_carlini_wagner_targeted_and_confident(rng):
    model, weight, bias = affine(rng)
    x = near_pictures(rng, weight, bias)[:6]
    model.linear.bias.data[...] = asarray(bias)
    aim = np.argsort(logits(x, weight, bias), axis=1)[:, -2]
    settings = {"targeted": True, "steps": 200, "lr": 0.02, "c": 1e-2, "search_steps": 7}
    for confidence in (0.0, 0.3):
        z = adversarial.carlini_wagner(model, asarray(x), aim, confidence=confidence, **settings)
        ahead = margin(td.Tensor(logits_of(model, z)), aim).numpy()
        assert (ahead >= confidence).all() and (ahead < confidence + 0.1).all()


def test_carlini_wagner_searches_for_the_smallest_c_of_each_picture(rng, monkeypatch):
    tried, enough = [], np.array([0.037, 1e-4, 20.0])

    def search(model, x, y, c, *_):
        tried.append(c.copy())
        return x + 0.001 * asarray(c)[:, None, None, None], np.where(c >= enough, c, np.inf)

    monkeypatch.setitem(adversarial.carlini_wagner.__globals__, "_search", search)
    x = asarray(GREY * np.ones((3, 3, 3, 2)))
    z = adversarial.carlini_wagner(affine(rng)[0], x, np.zeros(3, int), search_steps=6)
    np.testing.assert_allclose(
        np.array(tried).T,
        [
            [1e-3, 1e-2, 0.1, 0.055, 0.0325, 0.04375],
            [1e-3, 5e-4, 2.5e-4, 1.25e-4, 6.25e-5, 9.375e-5],
            [1e-3, 1e-2, 0.1, 1, 10, 100],
        ],
    )
    moved = to_numpy(z - x)[:, 0, 0, 0]
    np.testing.assert_allclose(moved, 0.001 * np.array([0.04375, 1.25e-4, 100]), rtol=1e-6)


def test_carlini_wagner_gives_back_what_it_cannot_fool(rng):
    model, _, bias = affine(rng)
    bias[2] = 1e4
    model.linear.bias.data[...] = asarray(bias)
    x = grey_pictures(rng)
    z = adversarial.carlini_wagner(model, asarray(x), np.full(7, 2), steps=20, search_steps=2)
    np.testing.assert_array_equal(to_numpy(z), x)


# One for all


def test_one_perturbation_for_all_pictures(rng):
    model, (x, y) = trained(), stripes(60, 1)
    v = adversarial.universal_perturbation(
        model, asarray(x[y == 0]), y[y == 0], eps=0.25, delta=0.1, rng=rng
    )
    assert v.shape == (1, 8, 8, 2) and v.dtype == np.float32
    assert float(xp.abs(v).max()) <= 0.25
    other, _ = stripes(60, 2)
    seen = adversarial.classes_seen(model, adversarial.moved(asarray(other[::2]), v))
    assert (seen != 0).mean() >= 0.8, "it works on pictures that it was not made from"


def test_progress_of_a_universal_perturbation_counts_pictures(rng, capsys):
    x, _ = some_pictures(rng)
    model, y = undecided(x)
    settings = {"eps": 0.001, "rounds": 1}
    adversarial.universal_perturbation(model, x, y, **settings)
    assert capsys.readouterr().err == ""
    adversarial.universal_perturbation(model, x, y, **settings, progress="one for all")
    err = capsys.readouterr().err
    assert "one for all" in err and f"/{len(x)} " in err


def test_a_universal_perturbation_stops_when_enough_are_fooled(rng, monkeypatch):
    model, (x, y) = trained(), stripes(20, 1)
    settings = {"eps": 0.2, "delta": 0.5}
    module = adversarial.universal_perturbation.__globals__
    monkeypatch.setitem(module, "deepfool", lambda *a, **s: pytest.fail("one more step"))
    half = np.where(np.arange(20) < 10, 1 - y, y)  # the model sees something else already
    nothing = adversarial.universal_perturbation(model, asarray(x), half, **settings)
    assert not to_numpy(nothing).any()


# In training, in several processes, and what it costs


def test_no_gradient_of_a_weight_is_computed(rng, monkeypatch):
    model, needed = untrained(), []
    conv2d_grads = kernels.conv2d_grads

    def watched(x, g, weight, window, wanted):
        needed.append(tuple(wanted))
        return conv2d_grads(x, g, weight, window, wanted)

    monkeypatch.setattr(kernels, "conv2d_grads", watched)
    adversarial.pgd(model, *some_pictures(rng), eps=0.1, steps=3)
    assert set(needed) == {(True, False, False)} and len(needed) == 3 * 3


def adversarial_trainer(network):
    x, y = stripes(32, 0)
    dataset = Dataset("stripes", (x[..., :1] * 255).astype(np.uint8), y, ("lying", "standing"))
    model = adversarial.on_pictures(network)

    def loss(x, labels):
        x = adversarial.pgd(model, x, labels, eps=0.1, steps=2)
        return ops.cross_entropy(model(x), labels)

    batches = Batches(dataset, 8, value_range=(0, 1))
    return Trainer(network, loss, batches, optim.AdamW(network.parameters(), lr=1e-2))


def test_serves_in_a_training_loop():
    """Attacks in a loss: the weights learn, dropout is seen by the loss, and a seed is a seed."""
    weights = []
    for _ in range(2):
        td.seed(0)
        network = Classifier(1, 2, widths=(8, 16))
        before = network.state_dict()
        losses = [record.loss for record in adversarial_trainer(network).run(until=4)]
        assert len(losses) == 4 and network.training
        weights.append(network.state_dict())
        assert all(not np.array_equal(before[n], w) for n, w in weights[-1].items())
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value)


def test_a_wrapped_network_has_the_team_of_the_network():
    network = Classifier(1, 2, widths=(8, 16))
    assert team_of(adversarial.on_pictures(network)) is team_of(network)
