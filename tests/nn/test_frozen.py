"""A frozen model behaves as in evaluation and learns nothing; afterwards it is as it was."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import models, nn
from tinydiff.backend import asarray, to_numpy


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


@pytest.mark.parametrize("network", list(models.CLASSIFIERS))
def test_pictures_get_the_gradient_that_they_get_in_training(network, rng):
    """Though kernels take shorter ways where no weight learns."""
    td.seed(0)
    model = models.CLASSIFIERS[network](1, 3, dropout=0.0)
    for p in model.parameters():
        p.data += asarray(0.1 * rng.standard_normal(p.shape, np.float32))
    size = max(13, model.least), max(12, model.least)
    x = td.Tensor(asarray(rng.random((5, *size, 1), np.float32)), requires_grad=True)

    def gradient():
        return to_numpy(td.grad(td.ops.log_softmax(model(x))[:, 1].sum(), x))

    wanted = gradient()
    with nn.frozen(model):
        got = gradient()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert np.abs(wanted).max() > 0
