"""Module: what it finds, what it saves, what it refuses, what it says about itself."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import nn
from tinydiff.backend import asarray, to_numpy
from tinydiff.nn import Module, Parameter, watching


class Block(Module):
    def __init__(self, channels=4):
        self.norm = nn.BatchNorm2d(channels)
        self.gain = Parameter(np.ones((1,), np.float32))
        self.layers = nn.ModuleList([nn.Linear(channels, channels), nn.Linear(channels, 2, False)])
        self.drop = nn.Dropout(0.5)
        self.frequencies = asarray(np.arange(3.0))

    def forward(self, x):
        x = self.drop(self.norm(x) * self.gain)
        for layer in self.layers:
            x = layer(x)
        return x


NAMES = [
    "gain",
    "norm.weight",
    "norm.bias",
    "layers.0.weight",
    "layers.0.bias",
    "layers.1.weight",
]
BUFFERS = ["norm.running_mean", "norm.running_var"]


def test_names_are_paths_of_attributes():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == NAMES
    assert [name for name, _ in block.named_buffers()] == BUFFERS
    assert list(block.state_dict()) == NAMES + BUFFERS
    paths = ["", "norm", "layers", "layers.0", "layers.1", "drop"]
    assert [path for path, _ in block.named_modules()] == paths
    assert block.num_parameters() == 1 + 4 + 4 + 16 + 4 + 8


def test_what_is_shared_is_listed_once():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(model.modules())) == 3
    model[1].tied = shared.weight
    assert model.num_parameters() == 6


def test_modules_that_would_not_be_found_are_refused():
    block = Block()
    for hidden in ([nn.ReLU()], (nn.ReLU(),), {"a": nn.ReLU()}, [Parameter(1.0)]):
        with pytest.raises(TypeError, match=r"Block\.hidden.*ModuleList"):
            block.hidden = hidden
    block.sizes = [1, 2, 3]
    with pytest.raises(TypeError, match="not a Module"):
        nn.Sequential(nn.ReLU(), td.ops.relu)


def test_lists():
    layers = nn.ModuleList(nn.Linear(1, n) for n in range(1, 12))
    assert len(layers) == 11
    assert [layer.weight.shape[1] for layer in layers] == list(range(1, 12))
    assert layers[-1].weight.shape == layers[10].weight.shape == (1, 11)
    with pytest.raises(IndexError):
        layers[11]


def test_sequential_applies_one_after_the_other():
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Softplus())
    y = model(td.Tensor(np.float32([[[-5.0], [1.0]]])))
    np.testing.assert_allclose(y.numpy(), [[np.log(2), np.log(1 + np.e)]], rtol=1e-6)


def test_train_eval_and_freezing_reach_everything():
    block = Block()
    assert block.training
    assert block.eval() is block
    assert not any(m.training for m in block.modules())
    block.train()
    assert all(m.training for m in block.modules())
    block.requires_grad_(False)
    assert len(list(block.parameters())) == len(NAMES)
    y = block(td.Tensor(np.ones((3, 4), np.float32)))
    assert not y.requires_grad


def test_zero_grad():
    linear = nn.Linear(3, 2)
    linear.zero_grad()
    assert linear.weight.grad is None
    linear(td.Tensor(np.ones((1, 3), np.float32))).sum().backward()
    assert to_numpy(linear.weight.grad).all()
    linear.zero_grad()
    assert linear.weight.grad is None and linear.bias.grad is None


def test_a_state_comes_back_and_is_a_copy():
    td.seed(1)
    first, second = Block(), Block()
    first(td.Tensor(np.random.default_rng(0).random((5, 4), np.float32)))
    state = first.state_dict()
    held = second.layers[0].weight.data
    second.load_state_dict(state)
    assert second.layers[0].weight.data is held
    for name, value in second.state_dict().items():
        assert isinstance(value, np.ndarray)
        np.testing.assert_array_equal(value, state[name])
    state["gain"][...] = 7
    assert first.gain.item() == second.gain.item() == 1


def test_a_state_that_does_not_fit_is_refused_whole():
    block = Block()
    before = block.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    del state["norm.bias"], state["norm.running_var"]
    state["extra"] = np.zeros(3)
    state["layers.0.weight"] = np.zeros((4, 5), np.float32)
    state["layers.0.bias"] = np.array(["a"] * 4)
    with pytest.raises(ValueError, match="this Block") as caught:
        block.load_state_dict(state)
    message = str(caught.value)
    for part in (
        "norm.bias is missing",
        "norm.running_var is missing",
        "extra is unknown",
        "layers.0.weight has shape (4, 5), expected (4, 4)",
        "layers.0.bias holds <U1, expected float32",
    ):
        assert part in message
    for name, value in block.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_state_of_another_network_is_refused_in_a_few_words():
    other = td.nn.Sequential(*(td.nn.Linear(2, 2) for _ in range(50)))
    with pytest.raises(ValueError, match=r"unknown; and \d+ more$") as caught:
        Block().load_state_dict(other.state_dict())
    assert len(str(caught.value)) < 300


def test_astype_converts_parameters_and_buffers():
    block = Block().astype(np.float64)
    assert {v.dtype for v in block.state_dict().values()} == {np.dtype(np.float64)}
    assert block(td.Tensor(np.ones((2, 4)))).dtype == np.float64


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="ModuleList does not define forward"):
        nn.ModuleList()(1)


def test_watching_sees_inner_modules_first_and_ends():
    block, seen = Block().eval(), []
    x = td.Tensor(np.ones((2, 4), np.float32))
    with watching(lambda module, output: seen.append((module, output.shape))):
        block(x)
    block(x)
    assert [m for m, _ in seen] == [block.norm, block.drop, *block.layers, block]
    assert seen[-1][1] == (2, 2)


class Branches(Module):
    """Two outputs, a layer that is never called, a parameter beside modules."""

    def __init__(self):
        self.scale = Parameter(np.ones((1, 5), np.float32))
        self.conv = nn.Conv2d(3, 5, 3, padding="same")
        self.unused = nn.Linear(1000, 2).requires_grad_(False)
        self.norm = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.3)

    def forward(self, x, *, both):
        y = self.drop(self.norm(self.conv(x))) * self.scale
        return (y, y.sum()) if both else y


def test_summary():
    model = Branches()
    model.norm.eval()
    before, random = model.state_dict(), td.backend.rng.bit_generator.state
    text = model.summary(td.Tensor(np.ones((2, 8, 6, 3), np.float32)), both=True)
    assert text == "\n".join(
        [
            "layer     type         output            parameters",
            "---------------------------------------------------",
            "(itself)  Branches     (2, 8, 6, 5), ()           5",
            "conv      Conv2d       (2, 8, 6, 5)             140",
            "unused    Linear       -                      2,002",
            "norm      BatchNorm2d  (2, 8, 6, 5)              10",
            "drop      Dropout      (2, 8, 6, 5)               0",
            "---------------------------------------------------",
            "2,157 parameters, 2,002 of them frozen",
        ]
    )
    # A look leaves no trace: not in the modes, the statistics or the random stream.
    assert [m.training for m in model.modules()] == [True, True, True, False, True]
    assert td.backend.rng.bit_generator.state == random
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_summary_of_a_model_that_fails_leaves_the_modes_alone():
    model = Branches()
    with pytest.raises(ValueError, match="channels"):
        model.summary(td.Tensor(np.ones((2, 8, 6, 4), np.float32)), both=False)
    assert all(m.training for m in model.modules())


def test_repr_shows_layers_and_settings():
    text = repr(nn.Sequential(nn.Conv2d(1, 8, 3, padding="same"), nn.SiLU(), nn.Flatten()))
    assert "0=Conv2d(weight=(3, 3, 1, 8), bias=(8,), stride=1, padding='same'" in text
    assert "\n  1=SiLU(),\n" in text
