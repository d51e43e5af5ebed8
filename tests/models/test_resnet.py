"""The residual classifier: shapes, gradients, refusals."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import ResNet


def tiny(**settings):
    td.seed(0)
    small = {"widths": (8, 16), "blocks": (1, 1), "dropout": 0.0}
    return ResNet(2, 5, **{**small, **settings})


def spoken(model):
    """The model with blocks that no longer begin as the identity."""
    rng = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        if name.endswith("conv2.weight"):
            values = 0.1 * rng.standard_normal(parameter.shape)
            parameter.data[...] = asarray(values.astype(parameter.dtype))
    return model


def pictures(n=3, size=(6, 9), dtype=np.float32):
    return asarray(np.random.default_rng(1).standard_normal((n, *size, 2)).astype(dtype))


@pytest.mark.parametrize(
    "settings", [{}, {"widths": (8,), "blocks": (0,)}, {"widths": (8, 8, 24), "blocks": (0, 2, 1)}]
)
@pytest.mark.parametrize("size", [(1, 1), (6, 9), (28, 28), (33, 31)])
def test_one_logit_per_class_and_picture_of_any_size(settings, size):
    model, x = tiny(**settings), pictures(size=size)
    assert model(x).shape == (3, 5)
    assert model.features(x).shape == (3, model.head.weight.shape[0])


def test_stages_halve_the_resolution_rounding_up():
    assert tiny().maps(td.Tensor(pictures(size=(7, 9)))).shape == (3, 4, 5, 16)


def test_gradients():
    model = spoken(tiny().astype(np.float64))
    td.gradcheck(model, to_numpy(pictures(dtype=np.float64)))
    model(pictures(dtype=np.float64)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_each_picture_is_judged_by_itself():
    model, x = spoken(tiny().astype(np.float64)), pictures(dtype=np.float64)
    y = model(x).numpy()
    np.testing.assert_allclose(model(x[::-1]).numpy(), y[::-1], atol=1e-12)
    np.testing.assert_allclose(model(x[1:2]).numpy(), y[1:2], atol=1e-12)


def test_dropout_acts_in_training_only():
    model, x = tiny(dropout=0.5), pictures()
    assert np.abs(model(x).numpy() - model(x).numpy()).max() > 1e-3
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())


@pytest.mark.parametrize("shape", [(3, 6, 9, 1), (6, 9, 2)])
def test_refused_pictures(shape):
    with pytest.raises(ValueError, match=r"ResNet: x has shape .*expected \(N, H, W, 2\)"):
        tiny()(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (), "blocks": ()}, "ResNet: widths .* one number of blocks"),
        ({"blocks": (1,)}, "one number of blocks"),
        ({"widths": (8, 12)}, "ResNet: norm_groups=8 does not divide the widths"),
        ({"norm_groups": 0}, "ResNet: norm_groups is 0"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)
    with pytest.raises(ValueError, match="ResNet: num_classes is 0"):
        ResNet(1, 0)
