"""What holds for every network that says what a picture shows: gradients, dropout, one by one."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import CLASSIFIERS

SMALL = {
    "plain": {"widths": (8, 16)},
    "resnet": {"widths": (8, 16), "blocks": (1, 1)},
    "vgg": {"widths": (6, 8)},
    "strided": {"widths": (6, 8), "hidden": 7, "last": 2},
}
every_classifier = pytest.mark.parametrize("kind", CLASSIFIERS)


def tiny(kind, dropout=0.0):
    """A network whose residual blocks, too, do something: they begin as the identity."""
    td.seed(0)
    model, rng = CLASSIFIERS[kind](2, 5, dropout=dropout, **SMALL[kind]), np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        if kind == "resnet" and name.endswith("conv2.weight"):
            parameter.data[...] = asarray(0.1 * rng.standard_normal(parameter.shape, np.float32))
    return model


def pictures(dtype=np.float32):
    return asarray(np.random.default_rng(1).standard_normal((3, 8, 11, 2)).astype(dtype))


@every_classifier
def test_gradients(kind):
    model, x = tiny(kind).astype(np.float64), pictures(np.float64)
    td.gradcheck(model, to_numpy(x))
    model(x).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@every_classifier
def test_each_picture_is_judged_by_itself(kind):
    model, x = tiny(kind).astype(np.float64), pictures(np.float64)
    assert model.independent_images
    y = model(x).numpy()
    np.testing.assert_allclose(model(x[::-1]).numpy(), y[::-1], atol=1e-12)
    np.testing.assert_allclose(model(x[1:2]).numpy(), y[1:2], atol=1e-12)


@every_classifier
def test_dropout_acts_in_training_only(kind):
    model, x = tiny(kind, dropout=0.5), pictures()
    assert np.abs(model(x).numpy() - model(x).numpy()).max() > 1e-3
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())


@every_classifier
@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (8, 8, 2)])
def test_refuses_other_pictures(kind, shape):
    name = CLASSIFIERS[kind].__name__
    with pytest.raises(ValueError, match=rf"{name}: x has shape .*expected \(N, H, W, 2\)"):
        tiny(kind)(np.zeros(shape, np.float32))
