"""Numbers in a network, by path and unit; and what is said of those that are not there."""

import numpy as np
import pytest
from visualize.small_nets import Small, pictures

import tinydiff as td
from tinydiff import nn
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.visualize import Unit, activation, activations, input_gradient, log_probability, logit


@pytest.fixture
def model():
    return Small().eval()


def x_of(n=2):
    return td.Tensor(asarray(to_float(pictures(n))))


def test_units_are_numbers_of_a_layers_answer(model):
    x = x_of()
    maps = to_numpy(model.body[3](model.body[2](model.body[1](model.body[0](x)))).data)
    close = lambda unit, numbers: np.testing.assert_allclose(
        unit(model, x).numpy(), numbers, rtol=1e-5, atol=1e-6
    )
    close(Unit("body.3", 7, (3, 5)), maps[:, 3, 5, 7])
    close(Unit("body.3", 7), maps[..., 7].mean(axis=(1, 2)))
    close(Unit("body.3"), maps.mean(axis=(1, 2, 3)))
    close(Unit("body.3", place=(0, 1)), maps[:, 0, 1].mean(axis=1))
    logits = model(x).numpy()
    close(logit(4), logits[:, 4])
    close(Unit("head", 4), logits[:, 4])
    close(log_probability(4), logits[:, 4] - np.log(np.exp(logits).sum(axis=1)))
    np.testing.assert_array_equal(activation(model, x, "body.3").numpy(), maps)


def test_several_layers_are_heard_in_one_call(model, monkeypatch):
    x, layers = x_of(), ["body.3", "", "body.0"]
    expected = [activation(model, x, layer).numpy() for layer in layers]
    calls = []
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda *given: calls.append(1) or forward(*given))
    for found, answer in zip(activations(model, x, layers), expected, strict=True):
        np.testing.assert_array_equal(found.numpy(), answer)
    assert len(calls) == 1
    with pytest.raises(ValueError, match="layer: Small has none named 'nose'"):
        activations(model, x, ["body.3", "nose"])
    assert not nn.watch.being_watched()


def test_a_layer_called_twice_gives_its_last_answer():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 3), relu, nn.Linear(3, 4), relu)
    x = td.Tensor(np.ones((1, 2), np.float32))
    assert np.array_equal(activation(model, x, "1").numpy(), model(x).numpy())


WRONG = {
    "no such layer": (Unit("body.9"), "Small has none named 'body.9'; it has body, body.0, bo"),
    "not called": (Unit("spare"), "layer 'spare' is not called"),
    "channel": (Unit("body.3", 8), "channel 8: layer 'body.3' has 0 … 7"),
    "negative": (Unit("body.3", -1), "channel -1: layer 'body.3' has 0 … 7"),
    "no int": (Unit("body.3", 1.0), "channel 1.0: "),
    "class": (logit(5), "channel 5: the network's own answer has 0 … 4"),
    "place": (Unit("body.3", 0, (6, 0)), r"place \(6, 0\): expected .* \(6, 6\), the pixels of la"),
    "one axis": (Unit("body.3", 0, (1,)), r"place \(1,\): expected an index for each of \(6, 6\)"),
    "no pixels": (Unit("head", 0, (0, 0)), r"place \(0, 0\): expected an index for each of \(\)"),
}


@pytest.mark.parametrize(("unit", "message"), WRONG.values(), ids=WRONG)
def test_what_there_is_not(unit, message, model):
    with pytest.raises(ValueError, match=message):
        unit(model, x_of())


def test_what_is_no_network_or_answers_no_tensor(model):
    with pytest.raises(TypeError, match="model: expected a Module, got function"):
        Unit("")(lambda x: x, x_of())

    class Two(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TypeError, match="answers tuple, expected one Tensor"):
        Unit("")(Two(), x_of())


def test_any_function_of_model_and_x_is_an_objective(model):
    energy = lambda m, x: (activation(m, x, "body.3") ** 2).sum(axis=(1, 2, 3)) / 2
    numbers, gradient = input_gradient(model, x_of().data, energy)
    maps = to_numpy(activation(model, x_of(), "body.3").data)
    np.testing.assert_allclose(to_numpy(numbers), (maps**2).sum(axis=(1, 2, 3)) / 2, rtol=1e-5)
    assert gradient.shape == (2, 12, 12, 3)
