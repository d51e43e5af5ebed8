"""The work of a network: loops that count, layers by hand, a run that leaves no trace."""

import numpy as np
import pytest

from tinydiff import nn
from tinydiff.backend import asarray


def picture(h, w, c, n=1):
    return asarray(np.zeros((n, h, w, c), np.float32))


def conv_by_loops(image, kernel, stride, padding, dilation, c, o, groups):
    """Each place where the window lies within the padded image; there, each weight once."""
    count = 0
    for i in range(-padding, image[0] + padding, stride):
        for j in range(-padding, image[1] + padding, stride):
            low, high = i + dilation * (kernel - 1), j + dilation * (kernel - 1)
            if low < image[0] + padding and high < image[1] + padding:
                count += kernel * kernel * c // groups * o
    return count


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [(3, 1, 1, 1, 1), (3, 2, 1, 1, 1), (2, 2, 0, 1, 2), (3, 1, 2, 2, 1), (1, 1, 0, 1, 4)],
)
def test_convolutions(kernel, stride, padding, dilation, groups):
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    conv = nn.Conv2d(4, 8, kernel, **settings)
    expected = conv_by_loops((7, 10), kernel, stride, padding, dilation, 4, 8, groups)
    assert nn.multiply_adds(conv, picture(7, 10, 4)) == expected
    assert nn.multiply_adds(conv, picture(7, 10, 4, n=3)) == 3 * expected


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 4, "stride": 2, "padding": "same"},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 3, "dilation": 2, "output_padding": 1},
        {"kernel_size": 3, "dilation": 2, "groups": 2},
    ],
)
def test_transposed_convolutions_use_each_weight_once_a_pixel(settings):
    layer = nn.ConvTranspose2d(4, 6, **settings)
    assert nn.multiply_adds(layer, picture(5, 7, 4, n=2)) == 2 * 5 * 7 * layer.weight.size


def test_linear_layers_and_what_does_not_count():
    model = nn.Sequential(nn.Linear(4, 6), nn.GroupNorm(2, 6), nn.SiLU(), nn.Linear(6, 1))
    assert nn.multiply_adds(model, picture(5, 7, 4)) == 35 * (24 + 6)


def test_a_layer_counts_as_often_as_it_is_used():
    layer = nn.Linear(4, 4)
    assert nn.multiply_adds(nn.Sequential(layer, layer), picture(1, 1, 4)) == 32


def test_a_look_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Linear(4, 1))
    before = model.state_dict()
    model[1].eval()
    assert nn.multiply_adds(model, asarray(np.ones((2, 4), np.float32))) == 8
    assert (model.training, model[1].training) == (True, False)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
