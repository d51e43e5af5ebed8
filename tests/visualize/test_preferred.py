"""Which channels a picture excites, what neurons like best, and films as pictures."""

import numpy as np
import pytest
from visualize.small_nets import Small, pictures

from tinydiff import nn
from tinydiff.backend import asarray, xp
from tinydiff.images import to_float
from tinydiff.visualize import (
    activation_maps,
    frames,
    last,
    preferred_patches,
    strongest_channels,
)


def test_strongest_channels():
    model, picture = Small(), pictures(1)
    spread = np.maximum(activation_maps(model, picture, "body.3")[0], 0).std(axis=(0, 1))
    found = strongest_channels(model, picture, "body.3", 5)
    assert found == sorted(range(8), key=lambda c: -spread[c])[:5]
    assert strongest_channels(model, picture, "body.0", 99) and len(found) == 5
    model.body[0].weight.data[..., 2] = 0
    model.body[0].bias.data[2] = 9
    assert strongest_channels(model, picture, "body.0", 6)[-1] == 2, "the same everywhere"


def test_of_one_convolution_the_patch_is_its_filter():
    """Which has no maximum but the corners of the range: the signs of the weights."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)).eval()
    found = preferred_patches(model, pictures(1), "0", [3, 0], steps=60)
    assert found.shape == (2, 3, 3, 3) and found.dtype == np.uint8
    weight = np.asarray(model[0].weight.numpy())[..., [3, 0]].transpose(3, 0, 1, 2)
    clear = abs(weight) > np.quantile(abs(weight), 0.5)
    assert ((found > 128) == (weight > 0))[clear].all()


def test_patches_are_as_large_as_what_the_neuron_sees():
    rng = lambda: np.random.default_rng(3)
    settings = {"images": pictures(2, 12, 12), "channels": [1, 2, 5], "steps": 2}
    found = preferred_patches(Small(), layer="body.3", rng=rng(), **settings)
    assert found.shape == (3, 8, 8, 3)
    with pytest.raises(ValueError, match=r"channel 8: layer 'body\.3' has 0 … 7"):
        preferred_patches(Small(), pictures(1), "body.3", [8])
    with pytest.raises(ValueError, match="layer 'head': its receptive field is not known"):
        preferred_patches(Small(), pictures(1), "head", [1])


def test_the_strongest_channels_are_those_of_one_picture_in_maps():
    with pytest.raises(ValueError, match="count is -1, expected an int ≥ 1"):
        strongest_channels(Small(), pictures(1), "body.3", -1)
    for some, layer in ((pictures(2), "body.3"), (pictures(1), "head")):
        with pytest.raises(ValueError, match=f"layer '{layer}' answers .* expected maps"):
            strongest_channels(Small(), some, layer, 2)


def test_a_film_becomes_pictures():
    film = [xp.full((2, 3, 3, 1), value, np.float32) for value in (-1, 0.5, 1.5)]
    assert [x.dtype == np.uint8 and x[0, 0, 0, 0] for x in frames(iter(film))] == [0, 191, 255]
    np.testing.assert_array_equal(last(iter(film)), np.full((2, 3, 3, 1), 255, np.uint8))
    some = pictures(2)
    np.testing.assert_array_equal(last(iter([asarray(to_float(some))])), some)
