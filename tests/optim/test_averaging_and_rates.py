"""EMA, gradient clipping and learning-rate schedules against their closed forms."""

import math

import numpy as np
import pytest

from tinydiff import Tensor, nn, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.kernels import update
from tinydiff.nn import Parameter


def constant_model(value):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm2d(3))
    for p in model.parameters():
        p.data[...] = value
    return model


def test_ema_of_a_jump_has_a_closed_form():
    """Weights 0 at first and 1 ever after: after n updates the average is 1 − Π d_t."""
    model = constant_model(0)
    ema = optim.EMA(model, decay=0.9)
    for p in model.parameters():
        p.data[...] = 1
    rest = 1.0
    for t in range(200):
        ema.update()
        rest *= min(0.9, (1 + t) / (10 + t))
        np.testing.assert_allclose(to_numpy(ema.average), 1 - rest, rtol=1e-5)
    assert (1 + 80) / (10 + 80) == 0.9  # from update 80 on the decay is constant


def test_ema_averages_what_is_learned_and_nothing_else():
    model = constant_model(1)
    model[0].bias.requires_grad = False
    ema = optim.EMA(model)
    model[1](Tensor(np.float32([[1, 2, 3], [3, 4, 7]])))
    statistics = to_numpy(model[1].running_mean).copy()
    model[0].weight.data[...] = 5
    with ema.swapped():
        assert (model[0].weight.numpy() == 1).all()
        np.testing.assert_array_equal(to_numpy(model[1].running_mean), statistics)
    assert (model[0].weight.numpy() == 5).all()
    assert list(ema.state_dict()["weights"]) == ["0.weight", "1.weight", "1.bias"]


def test_ema_swaps_back_after_an_error():
    model = constant_model(1)
    ema = optim.EMA(model)
    model[0].weight.data[...] = 5
    with pytest.raises(KeyError), ema.swapped():
        raise KeyError
    assert (model[0].weight.numpy() == 5).all()


def test_ema_state():
    model = constant_model(0)
    ema = optim.EMA(model, decay=0.5)
    model[0].weight.data[...] = 1
    ema.update()
    state = ema.state_dict()
    assert state["updates"] == 1
    other = constant_model(7)
    again = optim.EMA(other, decay=0.5)
    again.load_state_dict(state)
    other.load_state_dict(model.state_dict())
    for e in (ema, again):
        e.update()
    np.testing.assert_array_equal(to_numpy(ema.average), to_numpy(again.average))
    # The average as a model's own weights, as the docstring says.
    other.load_state_dict(other.state_dict() | state["weights"])
    np.testing.assert_allclose(other[0].weight.numpy(), 0.9, rtol=1e-6)
    del state["weights"]["0.bias"]
    state["weights"]["extra"] = np.zeros(1)
    with pytest.raises(ValueError, match=r"this EMA: 0\.bias is missing; extra is unknown"):
        again.load_state_dict(state)
    assert again.updates == 2


def test_ema_refuses_a_decay_of_one():
    with pytest.raises(ValueError, match=r"decay is 1\.0"):
        optim.EMA(constant_model(0), decay=1.0)


def parameters_with_gradients(*gradients):
    parameters = []
    for g in gradients:
        parameters.append(Parameter(np.zeros(np.shape(g), np.float32)))
        parameters[-1].grad = asarray(np.asarray(g, np.float32))
    return parameters


def test_clipping_scales_all_gradients_together():
    parameters = parameters_with_gradients([3.0, 0.0], [[4.0]])
    without = Parameter(np.zeros(2, np.float32))
    assert optim.clip_grad_norm([*parameters, without], 10) == 5
    np.testing.assert_array_equal(to_numpy(parameters[0].grad), [3, 0])
    assert optim.clip_grad_norm(parameters, 1) == 5
    np.testing.assert_allclose(to_numpy(parameters[0].grad), [0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(to_numpy(parameters[1].grad), [[0.8]], rtol=1e-6)
    assert without.grad is None


def test_clipping_an_optimiser(monkeypatch):
    monkeypatch.setattr(update, "piece", lambda n: 3)
    parameters = parameters_with_gradients(np.full(7, 2.0), np.full((3, 3), 2.0))
    optimiser = optim.SGD(parameters, 1.0)
    assert optim.clip_grad_norm(optimiser, 2.0) == 8
    optimiser.step()
    np.testing.assert_allclose(parameters[0].numpy(), -0.5)


def test_a_norm_beyond_float32s_squares():
    parameters = parameters_with_gradients([3e30, 4e30])
    assert float(optim.clip_grad_norm(parameters, 1.0)) == pytest.approx(5e30)
    np.testing.assert_allclose(to_numpy(parameters[0].grad), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_gradients_that_are_not_finite_are_reported_and_left(bad):
    parameters = parameters_with_gradients([1.0, bad], [2.0])
    assert not math.isfinite(optim.clip_grad_norm(parameters, 1.0))
    np.testing.assert_array_equal(to_numpy(parameters[1].grad), [2])


def test_clipping_refuses_what_makes_no_sense():
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="max_norm is"):
            optim.clip_grad_norm([], bad)
    with pytest.raises(TypeError, match="one Tensor"):
        optim.clip_grad_norm(Tensor(np.ones(2)), 1.0)


def test_schedules():
    assert [optim.constant(0.1)(s) for s in (0, 10**9)] == [0.1, 0.1]
    cosine = optim.cosine(2.0, 100, final=1.0)
    np.testing.assert_allclose([cosine(s) for s in (0, 50, 100, 1000)], [2, 1.5, 1, 1], rtol=1e-12)
    assert cosine(25) == pytest.approx(1 + (1 + math.sqrt(0.5)) / 2)
    warm = optim.warmup(cosine, 10)
    assert [warm(s) / cosine(s) for s in (0, 4, 9, 60)] == pytest.approx([0.1, 0.5, 1, 1])


def test_one_cycle_goes_up_once_and_down_once():
    schedule = optim.one_cycle(0.5, 100, warm=0.2)
    rates = [schedule(s) for s in range(100)]
    assert rates[0] == pytest.approx(0.5 / 25)
    assert np.argmax(rates) == 19
    assert rates[19] == 0.5
    assert rates[-1] == pytest.approx(0.5 * 4e-6)
    assert schedule(500) == rates[-1]
    assert (np.diff(rates[:20]) > 0).all()
    assert (np.diff(rates[19:]) < 0).all()
    for steps in (1, 2, 3):
        assert all(0 < optim.one_cycle(1.0, steps)(s) <= 1 for s in range(steps))


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.cosine(0.1, 0),
        lambda: optim.warmup(optim.constant(1), -3),
        lambda: optim.one_cycle(0.1, 2.5),
        lambda: optim.one_cycle(0.1, 10, warm=1.0),
    ],
)
def test_schedules_refuse_what_makes_no_sense(make):
    with pytest.raises(ValueError, match="expected"):
        make()
