"""The style encoder: means over regions by hand, regions that are nowhere, gradients, refusals."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import ops
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.models import DiagonalGaussian, StyleEncoder


def encoder(patch=1):
    td.seed(0)
    return StyleEncoder(3, 4, latent=2, width=5, patch=patch).astype(np.float64)


def pictures():
    return randn((2, 4, 6, 3), dtype=np.float64)


def regions():
    """None of number 2 in the second picture, none of number 3 at all"""
    some = np.random.default_rng(0).integers(0, 3, (2, 4, 6))
    some[1] %= 2
    return some


def test_each_region_is_read_from_its_mean():
    model, x, r = encoder(), pictures(), regions()
    f = ops.leaky_relu(model.conv2(ops.leaky_relu(model.conv1(td.Tensor(x)), slope=0.2)), slope=0.2)
    f, w, b = f.numpy(), to_numpy(model.head.weight.data), to_numpy(model.head.bias.data)
    got = model(x, r).numpy()
    assert got.shape == (2, 4, 4)
    for n in range(2):
        for k in range(3 - n):
            expected = f[n][r[n] == k].mean(axis=0) @ w + b
            np.testing.assert_allclose(got[n, k], expected, rtol=1e-10)


def test_of_what_is_nowhere_nothing_is_known():
    model = encoder()
    model.head.bias.data += 3
    said = DiagonalGaussian(model(pictures(), regions()))
    for n, k in ((0, 3), (1, 2), (1, 3)):
        assert not said.mean.numpy()[n, k].any() and not said.log_variance.numpy()[n, k].any()


@pytest.mark.parametrize("patch", [1, 2])
def test_gradients(patch):
    model, r = encoder(patch), regions()
    td.gradcheck(lambda x: model(x, r), pictures())


def test_a_patch_counts_for_each_region_in_it_as_much_as_it_has_of_it():
    """A picture of 2×2 patches of which each is plain: features are the same as without patches,
    but for the neighbours that they see, so with convolutions that see none."""
    model, r = encoder(2), regions()
    for conv in (model.conv1, model.conv2):
        weight = to_numpy(conv.weight.data).copy()
        weight[[0, 2]] = weight[:, [0, 2]] = 0
        conv.weight.data = asarray(weight)
    x = pictures()[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    f = ops.leaky_relu(model.conv1(ops.pixel_unshuffle(td.Tensor(x), factor=2)), slope=0.2)
    f = ops.leaky_relu(model.conv2(f), slope=0.2).numpy().repeat(2, axis=1).repeat(2, axis=2)
    w, b = to_numpy(model.head.weight.data), to_numpy(model.head.bias.data)
    got = model(x, r).numpy()
    np.testing.assert_allclose(got[0, 1], f[0][r[0] == 1].mean(axis=0) @ w + b, rtol=1e-10)


def test_refusals():
    with pytest.raises(ValueError, match="StyleEncoder: latent is 0"):
        StyleEncoder(3, 4, latent=0)
    with pytest.raises(ValueError, match=r"regions: expected maps of shape \(2, 4, 6\), got"):
        encoder()(pictures(), regions()[:, :2])
    with pytest.raises(ValueError, match="regions: expected 0 … 3 in maps, got 2 … 4"):
        encoder()(pictures(), regions() + 2)
    with pytest.raises(ValueError, match="with H and W divisible by 4"):
        encoder(4)(pictures(), regions())
