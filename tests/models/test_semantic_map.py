"""Maps as channels: convolutions of them are tables; and a U-Net that is told them."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, ops
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.models import UNet
from tinydiff.models.semantic_map import check_maps, class_means, one_hot

MAPS = np.random.default_rng(0).integers(0, 5, (2, 4, 8))


def unet(dtype=np.float64, **settings):
    td.seed(0)
    small = {"base_channels": 8, "channel_mults": (1, 2), "num_res_blocks": 1, "norm_groups": 4}
    model = UNet(2, map_classes=4, attention_levels=(), patch=2, **small, **settings).astype(dtype)
    model.head.weight.data = randn(model.head.weight.shape, dtype=dtype)
    return model


def test_one_channel_a_class():
    m = to_numpy(one_hot(MAPS, 4))
    assert m.shape == (2, 4, 8, 4) and m.dtype == np.float32
    for k in range(4):
        np.testing.assert_array_equal(m[..., k], k == MAPS)
    assert not m[MAPS == 4].any(), "nothing is known there"


def test_a_convolution_of_them_is_a_table_for_each_place_of_its_window():
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((3, 3, 4, 6))
    got = to_numpy(ops.conv2d(one_hot(MAPS, 4, np.float64), asarray(weight), padding=1).data)
    table = np.concatenate([weight, np.zeros((3, 3, 1, 6))], axis=2)  # of nothing: nothing
    around = np.pad(MAPS, ((0, 0), (1, 1), (1, 1)), constant_values=4)
    expected = sum(table[a, b][around[:, a : a + 4, b : b + 8]] for a in range(3) for b in range(3))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_class_means():
    """Class by class; of what is unknown, nothing; and where a class is nowhere, no division."""
    x = randn((2, 4, 8, 3), dtype=np.float64)
    maps = np.where(MAPS == 2, 1, MAPS)
    got = class_means(Tensor(x), one_hot(maps, 4, np.float64)).numpy()
    for n in range(2):
        for k in (0, 1, 3):
            here = maps[n] == k
            mean = to_numpy(x)[n][here].mean(axis=0)
            np.testing.assert_allclose(got[n][here], np.broadcast_to(mean, got[n][here].shape))
    assert not got[maps == 4].any()
    td.gradcheck(lambda x: class_means(x, one_hot(maps, 4, np.float64)), x)


def test_the_unet_is_one_of_more_channels():
    """The same weights in a plain U-Net that is given x, its means and the map's channels as one
    picture."""
    model = unet()
    plain = UNet(
        8, 2, base_channels=8, channel_mults=(1, 2), num_res_blocks=1, norm_groups=4, patch=2,
        attention_levels=(),
    ).astype(np.float64)  # fmt: skip
    plain.load_state_dict(model.state_dict())
    x, t = randn((2, 4, 8, 2), dtype=np.float64), np.array([3, 90])
    m = one_hot(MAPS, 4, np.float64)
    seen = ops.concat([Tensor(x), Tensor(m), class_means(Tensor(x), m)])
    np.testing.assert_array_equal(model(x, t, MAPS).numpy(), plain(seen, t).numpy())
    other = model(x, t, np.where(MAPS == 0, 1, MAPS)).numpy()
    assert np.abs(other - model(x, t, MAPS).numpy()).max() > 1e-3


def test_gradients():
    model, t = unet(), np.array([3, 90])
    td.gradcheck(lambda x: model(x, t, MAPS), randn((2, 4, 8, 2), dtype=np.float64))


@pytest.mark.parametrize(
    ("maps", "error", "message"),
    [
        (None, ValueError, r"cond is None, expected maps \(N, H, W\) for N = 2"),
        (MAPS[0], ValueError, r"cond has shape \(4, 8\), expected maps"),
        (MAPS[:, :2], ValueError, r"expected maps of shape \(2, 4, 8\), got \(2, 2, 8\)"),
        (MAPS + 1, ValueError, "UNet: cond: expected 0 … 4 in maps, got 1 … 5"),
        (MAPS - 1, ValueError, "got -1 … 3"),
        (MAPS + 0.5, TypeError, "expected maps of integers, got float64"),
    ],
)
def test_the_unet_refuses(maps, error, message):
    with pytest.raises(error, match=message):
        unet()(randn((2, 4, 8, 2), dtype=np.float64), np.array([3, 90]), maps)


def test_one_condition_at_most():
    with pytest.raises(ValueError, match="there are num_classes and map_classes, expected one or"):
        unet(num_classes=3)
    with pytest.raises(ValueError, match="map_classes is 0, expected an int ≥ 1"):
        UNet(3, map_classes=0)


def test_maps_may_be_lists():
    assert check_maps("here", [[[0, 4]]], (1, 1, 2), 4).tolist() == [[[0, 4]]]
