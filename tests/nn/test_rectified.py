"""ReLU after a frozen convolution: a shorter way to the same, where nobody looks on."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import nn, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.ops.relu import relu_rule


class Net(nn.Module):
    def __init__(self, relu=None, pool=None):
        td.seed(0)
        self.conv, self.relu = nn.Conv2d(3, 16, 3, padding=1), relu or nn.ReLU()
        self.pool = pool

    def forward(self, x):
        return nn.rectified(self.conv, self.relu, x, self.pool)


POOLS = {
    "none": None,
    "apart": nn.MaxPool2d(2),
    "gaps": nn.MaxPool2d(2, stride=3),
    "padded": nn.MaxPool2d(2, padding=1),
    "overlapping": nn.MaxPool2d(3, stride=2),
    "mean": nn.AvgPool2d(2),
}


def picture(rng):
    return td.Tensor(asarray(rng.standard_normal((2, 9, 8, 3), np.float32)), requires_grad=True)


def answers(model, x, rule="plain"):
    """The model's answer, x's gradient, and how many ReLUs that passed"""
    with relu_rule(rule) as way:
        y = model(x)
        gradient = td.grad((y * y).sum(), x)
    return y.numpy(), to_numpy(gradient), way.passed


@pytest.mark.parametrize("rule", ["plain", "deconvnet", "guided"])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("relu", [nn.ReLU, nn.SiLU])
def test_is_the_same_when_frozen(relu, pool, rule, rng):
    model, x = Net(relu(), POOLS[pool]), picture(rng)
    before = x.numpy().copy()
    wanted = answers(model, x, rule)
    with nn.frozen(model):
        got = answers(model, x, rule)
        with td.no_grad():
            np.testing.assert_array_equal(model(x).numpy(), wanted[0])
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(x.numpy(), before)


def test_takes_the_shorter_way_only_where_no_weight_learns(monkeypatch, rng):
    taken = []
    monkeypatch.setattr(ops, "relu_max_pool2d", lambda x, **_: taken.append(x) or x)
    model, x = Net(pool=nn.MaxPool2d(2)), picture(rng)
    model(x)
    assert not taken
    with nn.frozen(model):
        model(x)
        assert len(taken) == 1
        model.conv.bias.requires_grad = True
        model(x)
        assert len(taken) == 1


def test_whoever_looks_on_sees_every_layer(rng):
    model, x, seen = Net(pool=nn.MaxPool2d(2)), picture(rng), {}
    with nn.frozen(model), nn.watching(lambda module, y: seen.update({module: y})):
        model(x)
    before = seen[model.conv].numpy()
    assert (before < 0).any(), "overwritten"
    np.testing.assert_array_equal(seen[model.relu].numpy(), np.maximum(before, 0))
    assert seen[model.pool].shape == (2, 4, 4, 16)
