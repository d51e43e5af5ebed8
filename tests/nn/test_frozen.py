"""A frozen model behaves as in evaluation and learns nothing; afterwards it is as it was."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import nn
from tinydiff.backend import to_numpy


@pytest.fixture
def model():
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    made[3].eval()
    made[0].bias.requires_grad = False
    return made


def state(model):
    return (
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [None if p.grad is None else to_numpy(p.grad).tolist() for p in model.parameters()],
        {name: a.tolist() for name, a in model.state_dict().items()},
    )


@pytest.mark.parametrize("error", [None, KeyError])
def test_leaves_no_trace(model, error):
    x = td.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    model(x).sum().backward()
    before = state(model)
    try:
        with nn.frozen(model):
            assert not any(m.training for m in model.modules())
            assert not any(p.requires_grad for p in model.parameters())
            first, second = model(x), model(x)
            assert np.array_equal(first.numpy(), second.numpy()), "dropout is on"
            first.sum().backward()
            if error:
                raise error
    except KeyError:
        pass
    assert state(model) == before
    assert before[0] == [True, True, True, True, False] and not all(before[1])
