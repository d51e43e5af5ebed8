"""Max-activating patches: found where they were put."""

import importlib

import numpy as np
import pytest
from visualize.small_nets import Small, pictures

from tinydiff import nn
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.visualize import Unit, activation_maps, gradient, patch_gradients, top_patches

PATTERN = np.array([[255, 0, 255], [0, 255, 0], [255, 0, 255]], np.uint8)
PLACES = [(3, 4), (0, 9), (12, 2), (7, 7)]  # of its corner, in pictures of 15×12


def detector():
    """Its channel 1 answers to a cross, channel 0 to nothing."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    weight = np.zeros((3, 3, 1, 2), np.float32)
    weight[..., 0, 1] = np.where(PATTERN > 0, 1, -1)
    model[0].weight.data, model[0].bias.data = asarray(weight), asarray(np.zeros(2, np.float32))
    return model


def planted():
    images = np.zeros((6, 15, 12, 1), np.uint8)
    for i, (row, column) in enumerate(PLACES):
        images[i + 1, row : row + 3, column : column + 3, 0] = PATTERN * (1 - i / 8)
    return images


@pytest.mark.parametrize("batch", [2, 64])
@pytest.mark.parametrize("floats", [False, True])
def test_finds_them_the_strongest_first(batch, floats, monkeypatch):
    monkeypatch.setattr(importlib.import_module("tinydiff.visualize.gradient"), "BATCH", batch)
    images = to_float(planted()) if floats else planted()
    found = top_patches(detector(), images, "1", [1], count=4)[0]
    assert found.pictures.tolist() == [1, 2, 3, 4]
    assert found.places.tolist() == [[row + 1, column + 1] for row, column in PLACES]
    assert (np.diff(found.numbers) < 0).all()
    assert found.patches.shape == (4, 3, 3, 1) and found.patches.dtype == images.dtype
    for k in range(4):
        row, column = PLACES[k]
        cut = images[k + 1, row : row + 3, column : column + 3]
        assert np.array_equal(found.patches[k], cut)


def test_grey_where_the_field_leaves_the_picture():
    images = np.zeros((1, 8, 8, 1), np.uint8)
    images[0, 0, 7] = 255
    found = top_patches(detector(), images, "0", [1], count=3)[0]
    assert len(found.patches) == 1, "one a picture, though three were asked for"
    row, column = found.places[0]
    padded = np.pad(images[0], ((1, 1), (1, 1), (0, 0)), constant_values=128)
    assert np.array_equal(found.patches[0], padded[row : row + 3, column : column + 3])
    assert (top_patches(detector(), to_float(images), "0", [1])[0].patches[0] == 0).any()


def test_the_numbers_are_the_largest_of_the_maps():
    model, images = Small(), pictures(7)
    maps = activation_maps(model, images, "body.3")[..., 5]
    best = maps.reshape(7, -1).max(axis=1)
    other, found = top_patches(model, images, "body.3", [0, 5], count=3)
    assert not np.array_equal(other.numbers, found.numbers)
    every = top_patches(model, images, "body.3", count=3)
    assert [best.channel for best in every] == list(range(8))
    assert np.array_equal(every[5].numbers, found.numbers) and every[5].layer == "body.3"
    np.testing.assert_allclose(found.numbers, np.sort(best)[::-1][:3], rtol=1e-5)
    assert found.pictures.tolist() == np.argsort(-best)[:3].tolist()
    assert found.patches.shape == (3, 8, 8, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("body.3", [0, 8]), "channel 8: layer 'body.3' has 0 … 7"),
        (("body.8", [0]), "none named 'body.8'"),
        (("head", [0]), "layer 'head': its receptive field is not known"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        top_patches(Small(), pictures(2), *given)
    with pytest.raises(ValueError, match="count is 0, expected an int ≥ 1"):
        top_patches(Small(), pictures(2), "body.3", [0], count=0)


def test_what_speaks_for_the_neuron_of_each_patch():
    """Cut out of the gradient of the neuron that answered, at the picture it answered to."""
    (found,) = top_patches(detector(), planted(), "1", [1], count=2)
    weight = to_numpy(detector()[0].weight.data)[..., 1]
    ways = patch_gradients(detector(), planted(), found)
    np.testing.assert_allclose(ways, np.stack([weight] * 2), atol=1e-6)

    model, images = Small(), pictures(5)
    (found,) = top_patches(model, images, "body.3", [5], count=3)
    ways = patch_gradients(model, images, found, rule="guided")
    for k, (row, column) in enumerate(found.places.tolist()):
        i = found.pictures[k]
        unit = Unit("body.3", 5, (row, column))
        whole = gradient(model, images[i : i + 1], unit, rule="guided")[0]
        padded = np.pad(whole, ((12, 12), (12, 12), (0, 0)))
        top, left = 12 + 2 * row - 3, 12 + 2 * column - 3
        np.testing.assert_array_equal(ways[k], padded[top : top + 8, left : left + 8])
    plain = patch_gradients(model, images, found)
    assert not np.array_equal(plain, ways)
