"""The residual classifier: shapes, resolutions, settings."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff.backend import asarray
from tinydiff.models import ResNet


def tiny(**settings):
    td.seed(0)
    small = {"widths": (8, 16), "blocks": (1, 1), "dropout": 0.0}
    return ResNet(2, 5, **{**small, **settings})


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
