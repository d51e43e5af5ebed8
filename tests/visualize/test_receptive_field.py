"""Receptive fields by arithmetic, and by what a neuron sees: its gradient, and single dots."""

import numpy as np
import pytest
from visualize.small_nets import Residual, Small, pictures

from tinydiff import Tensor, nn, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.visualize import (
    ReceptiveField,
    Unit,
    activation_maps,
    deepest_within,
    gradient,
    receptive_field,
)

SIDE = (19, 17)
conv = nn.Conv2d
NETS = {
    "one": lambda: [conv(1, 1, 3)],
    "padded": lambda: [conv(1, 1, 3, padding=1), conv(1, 1, 5, padding=2)],
    "strided": lambda: [conv(1, 1, 3, stride=2, padding=1), conv(1, 1, 3, stride=2), conv(1, 1, 2)],
    "same": lambda: [conv(1, 1, 4, stride=2, padding="same"), conv(1, 1, 3, padding="same")],
    "dilated": lambda: [conv(1, 1, 3, dilation=2), conv(1, 1, 3, padding=3, dilation=(1, 3))],
    "oblong": lambda: [conv(1, 1, (1, 4), stride=(2, 1)), conv(1, 1, (3, 1), padding=(1, 0))],
    "pooled": lambda: [
        conv(1, 1, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        conv(1, 1, 3),
        nn.AvgPool2d(2, 1),
    ],
    "overlapping": lambda: [nn.MaxPool2d(3, 2, 1), conv(1, 1, 3, padding=1), nn.Dropout()],
    "1x1, skipping": lambda: [conv(1, 1, 1, stride=3), conv(1, 1, 2)],
    "residual": lambda: [Residual(), conv(1, 1, 3)],
}


def positive(name):
    """The network, all of whose weights are positive: what a neuron sees makes it brighter."""
    model = nn.Sequential(*NETS[name]())
    for parameter in model.parameters():
        parameter.data = abs(parameter.data) + 0.1 if parameter.ndim == 4 else parameter.data * 0
    return model


def dots(background=0.0):
    """A picture for each pixel, in which that pixel is bright."""
    h, w = SIDE
    return np.eye(h * w, dtype=np.float32).reshape(-1, h, w, 1) + np.float32(background)


HOLES = ("dilated", "oblong", "1x1, skipping")  # a stride longer than the kernel, a dilation


@pytest.mark.parametrize("name", NETS)
def test_is_what_a_neuron_sees(name):
    """A dot lights a neuron up if, and only if, it lies where the neuron sees.

    Where there are holes between, dots in the field's outermost rows and columns do.
    """
    model = positive(name)
    layer = str(len(list(model)) - 1)
    field = receptive_field(model, layer, dots()[:1])
    lit = activation_maps(model, dots(), layer)[..., 0].transpose(1, 2, 0) > 0
    whole = 0
    for place in np.ndindex(lit.shape[:2]):
        seen, expected = lit[place].reshape(SIDE), np.zeros(SIDE, bool)
        rows, columns = field.of(place)
        expected[max(rows.start, 0) : rows.stop, max(columns.start, 0) : columns.stop] = True
        if name not in HOLES:
            assert np.array_equal(seen, expected), place
        assert not (seen & ~expected).any(), place
        if expected.sum() == field.size[0] * field.size[1]:  # none of it outside of the picture
            whole += 1
            for axis in (0, 1):
                ends = [np.flatnonzero(a.any(axis=axis))[[0, -1]] for a in (seen, expected)]
                assert np.array_equal(*ends), place
    assert whole


def test_is_the_support_of_the_gradient(rng):
    """Over so many pictures that each pixel is once the largest of its pool."""
    model, images = Small(channels=1, side=24), pictures(40, 24, 24, 1)
    for layer, place in (
        ("body.0", (7, 5)),
        ("body.2", (5, 4)),
        ("body.3", (5, 6)),
        ("body.5", (3, 3)),
    ):
        field = receptive_field(model, layer, images)
        found = np.abs(gradient(model, images, Unit(layer, place=place))).sum(axis=(0, 3)) > 0
        expected = np.zeros((24, 24), bool)
        expected[field.of(place)] = True
        assert np.array_equal(found, expected), layer


def test_by_the_book():
    """VGG's: r = r + (k − 1)·j, j = j·s"""
    model, images = Small(side=12), pictures(1)
    expected = {
        "body.0": ReceptiveField((3, 3), (1, 1), (-1, -1)),
        "body.1": ReceptiveField((3, 3), (1, 1), (-1, -1)),
        "body.2": ReceptiveField((4, 4), (2, 2), (-1, -1)),
        "body.3": ReceptiveField((8, 8), (2, 2), (-3, -3)),
        "body.5": ReceptiveField((10, 10), (4, 4), (-3, -3)),
        "body": ReceptiveField((10, 10), (4, 4), (-3, -3)),
    }
    assert {layer: receptive_field(model, layer, images) for layer in expected} == expected
    field = expected["body.3"]
    assert field.of((2, 0)) == (slice(1, 9), slice(-3, 5))


def test_the_deepest_that_sees_so_much():
    model, images = Small(side=12), pictures(1)
    found = {n: deepest_within(model, images, n) for n in (2, 3, 7.5, 8, 99)}
    assert found == {2: "body.0", 3: "body.0", 7.5: "body.0", 8: "body.3", 99: "body.3"}
    with pytest.raises(ValueError, match="model: Linear has no convolution"):
        deepest_within(nn.Linear(2, 2), images, 8)


class Between(nn.Module):
    """Something that is no module happens between two of them."""

    def __init__(self, between):
        self.first, self.second, self.between = conv(1, 1, 3), conv(1, 1, 3), between

    def forward(self, x):
        return self.second(self.between(self.first(x)))


def test_what_is_not_known_is_not_told():
    images = pictures(1, 12, 12, 1)
    assert receptive_field(Between(ops.silu), "second", images).size == (5, 5)
    for model, layer in (
        (Between(lambda x: ops.upsample_nearest2d(x, scale=2)), "second"),
        (nn.Sequential(conv(1, 1, 3), nn.Upsample(2), conv(1, 1, 3)), "2"),
        (nn.Sequential(conv(1, 1, 3), nn.GlobalAvgPool2d()), "1"),
        (Small(1), "head"),
        (Small(1), "spare"),
    ):
        with pytest.raises(ValueError, match=f"layer '{layer}': its receptive field is not known"):
            receptive_field(model, layer, images)
    with pytest.raises(ValueError, match="Small has none named 'neck'"):
        receptive_field(Small(1), "neck", images)


def test_two_ways_of_different_pace_are_not_one_field():
    class Two(nn.Module):
        def __init__(self):
            self.slow, self.fast = conv(1, 1, 3, stride=2, padding=1), conv(1, 1, 1)

        def forward(self, x):
            return self.slow(x) + self.fast(x)[:, ::2, ::2]

    x = pictures(1, 12, 12, 1)
    assert to_numpy(Two()(Tensor(asarray(x.astype(np.float32)))).data).shape == (1, 6, 6, 1)
    with pytest.raises(ValueError, match="layer '': its receptive field is not known"):
        receptive_field(Two(), "", x)
