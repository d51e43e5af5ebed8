"""Optimisers against their equations written out in float64, and what they keep and refuse."""

import gc

import numpy as np
import pytest

import tinydiff as td
from tinydiff import nn, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.kernels import update
from tinydiff.nn import Parameter


def sgd(theta, g, s, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = g + weight_decay * theta
    s["u"] = u = momentum * s.get("u", 0) + g
    return theta - lr * (g + momentum * u if nesterov else u)


def adam(theta, g, s, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    s["t"] = t = s.get("t", 0) + 1
    if decoupled:
        theta = theta * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * theta
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    m, v = s["m"] / (1 - betas[0] ** t), s["v"] / (1 - betas[1] ** t)
    return theta - lr * m / (np.sqrt(v) + eps)


def adamw(*args, weight_decay=0.01, **settings):
    return adam(*args, weight_decay=weight_decay, decoupled=True, **settings)


RULES = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.2}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (optim.Adam, adam, {"lr": 0.01}),
    (optim.Adam, adam, {"lr": 0.01, "betas": (0.5, 0.8), "eps": 1e-2, "weight_decay": 0.1}),
    (optim.AdamW, adamw, {"lr": 0.01}),
    (optim.AdamW, adamw, {"lr": 0.01, "betas": (0.7, 0.9), "weight_decay": 0.5}),
]
IDS = [f"{kind.__name__}-{len(settings)}" for kind, _, settings in RULES]


@pytest.mark.parametrize(("kind", "rule", "settings"), RULES, ids=IDS)
def test_twenty_steps_by_the_equation(kind, rule, settings, monkeypatch):
    monkeypatch.setattr(update, "piece", lambda n: 8)  # several stretches, the last one short
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((3, 4), (5,), (2, 1, 2))]
    parameters = [Parameter(asarray(a, np.float64)) for a in arrays]
    optimiser = kind(parameters, **settings)
    states = [{} for _ in arrays]
    for step in range(20):
        optimiser.lr = lr = settings["lr"] / (1 + step)
        optimiser.zero_grad()
        for i, p in enumerate(parameters):
            g = rng.standard_normal(p.shape)
            (p * asarray(g)).sum().backward()
            arrays[i] = rule(arrays[i], g, states[i], **(settings | {"lr": lr}))
        optimiser.step()
        for p, expected in zip(parameters, arrays, strict=True):
            np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12, atol=1e-14)
    assert optimiser.steps == 20


def line(seed=0):
    """A model, its data, and a training step."""
    td.seed(seed)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    rng = np.random.default_rng(seed)
    x = td.Tensor(rng.standard_normal((16, 3)).astype(np.float32))
    y = td.Tensor(rng.standard_normal((16, 2)).astype(np.float32))

    def step(optimiser):
        optimiser.zero_grad()
        loss = td.ops.mse_loss(model(x), y)
        loss.backward()
        optimiser.step()
        return loss.item()

    return model, step


@pytest.mark.parametrize(("kind", "rule", "settings"), RULES, ids=IDS)
def test_a_resumed_optimiser_goes_on_bit_by_bit(kind, rule, settings):
    model, step = line()
    optimiser = kind(model.parameters(), **settings)
    for _ in range(5):
        step(optimiser)
    weights, state = model.state_dict(), optimiser.state_dict()
    expected = [step(optimiser) for _ in range(5)]

    model, step = line()
    optimiser = kind(model.parameters(), **(settings | {"lr": 99.0}))
    model.load_state_dict(weights)
    optimiser.load_state_dict(state)
    assert optimiser.lr == settings["lr"]
    assert [step(optimiser) for _ in range(5)] == expected


def test_a_state_that_does_not_fit_is_refused_whole():
    model, step = line()
    optimiser = optim.Adam(model.parameters())
    step(optimiser)
    before = optimiser.state_dict()
    with pytest.raises(ValueError, match="state is of 'AdamW', not of Adam"):
        optimiser.load_state_dict(optim.AdamW(model.parameters()).state_dict())
    smaller = optim.Adam(nn.Linear(3, 5).parameters()).state_dict()
    with pytest.raises(ValueError, match=r"mean has shape \(20,\), expected \(32,\); square has"):
        optimiser.load_state_dict(smaller)
    del smaller["buffers"]["mean"]
    with pytest.raises(ValueError, match="mean is missing"):
        optimiser.load_state_dict(smaller)
    after = optimiser.state_dict()
    assert after["steps"] == 1
    for name, value in before["buffers"].items():
        np.testing.assert_array_equal(after["buffers"][name], value)


def test_parameters_live_in_the_flat_buffers():
    model, step = line()
    before = model.state_dict()
    optimiser = optim.SGD(model.parameters(), 0.1)
    flat = optimiser.flat
    assert flat.data.shape == (32,)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    step(optimiser)
    flat.data[...] = 3
    flat.grad[...] = 4
    for p in model.parameters():
        assert (p.numpy() == 3).all()
        assert (to_numpy(p.grad) == 4).all()


def test_what_was_put_elsewhere_is_brought_home():
    x = Parameter(np.zeros(3, np.float32))
    x.grad = asarray(np.float32([1, 2, 3]))
    optimiser = optim.SGD([x], 1.0)
    optimiser.step()  # a gradient computed before the optimiser was made counts
    np.testing.assert_array_equal(x.numpy(), [-1, -2, -3])
    x.data, x.grad = asarray(np.float32([5, 5, 5])), None
    optimiser.step()
    np.testing.assert_array_equal(x.numpy(), [5, 5, 5])
    x.grad = asarray(np.float32([1, 1, 1]))
    optimiser.zero_grad()
    assert x.grad is None
    optimiser.step()  # no gradient is one of zeros
    np.testing.assert_array_equal(x.numpy(), [5, 5, 5])
    optimiser.flat.data[...] = 8
    np.testing.assert_array_equal(x.numpy(), [8, 8, 8])


def test_the_same_parameters_share_one_buffer_while_it_is_used():
    model, _ = line()
    first = optim.SGD(model.parameters(), 0.1)
    second = optim.Adam(reversed(list(model.parameters())))
    assert second.flat is first.flat
    assert optim.EMA(model).flat is first.flat
    assert optim.SGD(model[0].parameters(), 0.1).flat is not first.flat
    count = len(optim.flat._in_use)
    del first, second
    gc.collect()
    assert len(optim.flat._in_use) < count


def test_frozen_parameters_are_left_out_and_later_freezing_is_noticed():
    model, step = line()
    model[0].requires_grad_(False)
    before = model.state_dict()
    optimiser = optim.AdamW(model.parameters(), weight_decay=0.5)
    step(optimiser)
    after = model.state_dict()
    for name in before:
        assert np.array_equal(before[name], after[name]) == name.startswith("0.")
    model[2].bias.requires_grad = False
    with pytest.raises(ValueError, match=r"parameters\[1\], of shape \(2,\), was frozen"):
        optimiser.step()


@pytest.mark.parametrize(
    ("error", "make", "words"),
    [
        (ValueError, lambda p: optim.SGD(p, -0.1), "SGD: lr is -0.1"),
        (ValueError, lambda p: optim.SGD(p, float("nan")), "SGD: lr is nan"),
        (ValueError, lambda p: optim.SGD(p, 0.1, momentum=1.0), "momentum is 1.0"),
        (ValueError, lambda p: optim.SGD(p, 0.1, nesterov=True), "nesterov needs a momentum"),
        (ValueError, lambda p: optim.AdamW(p, weight_decay=-1), "AdamW: weight_decay is -1"),
        (ValueError, lambda p: optim.Adam(p, betas=(0.9, 1.0)), "Adam: betas are"),
        (ValueError, lambda p: optim.Adam(p, eps=0), "Adam: eps is 0"),
        (ValueError, lambda p: optim.SGD([], 0.1), "none of them requires grad"),
        (ValueError, lambda p: optim.SGD([*p, *p], 0.1), "same tensor comes twice"),
        (ValueError, lambda p: optim.SGD([p[0] * 2], 0.1), r"parameters\[0\] was computed"),
        (TypeError, lambda p: optim.SGD(p[0], 0.1), "one Tensor, expected an iterable"),
        (TypeError, lambda p: optim.SGD([p[0].data], 0.1), r"parameters\[0\] is a ndarray"),
        (
            TypeError,
            lambda p: optim.SGD([*p, Parameter(np.ones(2))], 0.1),
            "float32 and float64, expected one dtype",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(error, make, words):
    with pytest.raises(error, match=words):
        make([Parameter(np.ones(2, np.float32))])
