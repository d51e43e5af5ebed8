"""SPADE: its equation by hand, its generator's shapes, what z and map change, and refusals."""

import numpy as np
import pytest
from parameter_gradients import check_parameters

import tinydiff as td
from tinydiff import Tensor, ops
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.models import SpadeGenerator
from tinydiff.models.spade import Spade, SpadeBlock

SMALL = {"map_classes": 3, "latent": 2, "widths": (4, 8), "hidden": 4, "norm_groups": 2}


def generator(dtype=np.float64, **settings):
    td.seed(0)
    return SpadeGenerator(2, **{**SMALL, **settings}).astype(dtype)


def maps(n=2, most=3, size=(8, 8)):
    return np.random.default_rng(0).integers(0, most + 1, (n, *size))


def regions(n=2, size=(8, 8)):
    return np.random.default_rng(2).integers(0, 5, (n, *size))


def styles(n=2, latent=2, dtype=np.float64):
    return asarray(np.random.default_rng(1).standard_normal((n, 5, latent)).astype(dtype))


def test_its_equation_where_the_map_is_the_same_all_over():
    """Then γ and β are, inside, numbers that one can add up; ĥ has mean 0 and deviation 1."""
    td.seed(0)
    spade = Spade(4, 2, hidden=3, groups=2).astype(np.float64)
    h, m = randn((1, 6, 7, 4), dtype=np.float64), np.zeros((1, 6, 7, 2))
    m[..., 1] = 1
    w = {name: to_numpy(p.data) for name, p in spade.named_parameters()}
    u = np.maximum(0, w["look.weight"].sum(axis=(0, 1))[1] + w["look.bias"])
    gamma, beta = (
        u @ w[f"{n}.weight"].sum(axis=(0, 1)) + w[f"{n}.bias"] for n in ("gamma", "beta")
    )
    groups = to_numpy(h).reshape(42, 2, 2)
    mean, deviation = groups.mean(axis=(0, 2)), np.sqrt(groups.var(axis=(0, 2)) + 1e-5)
    normal = ((groups - mean[:, None]) / deviation[:, None]).reshape(1, 6, 7, 4)
    got = spade(Tensor(h), Tensor(asarray(m))).numpy()
    inside = np.s_[:, 2:-2, 2:-2]  # two convolutions from the border, where there is nothing
    np.testing.assert_allclose(got[inside], ((1 + gamma) * normal + beta)[inside], rtol=1e-10)


@pytest.mark.parametrize("out", [4, 6])
def test_gradients_of_a_block(out):
    td.seed(0)
    block = SpadeBlock(4, out, 3, hidden=4, groups=2).astype(np.float64)
    h, m = randn((2, 4, 5, 4), dtype=np.float64), randn((2, 4, 5, 3), dtype=np.float64)
    td.gradcheck(block, h, m)
    weights = randn((2, 4, 5, out), dtype=np.float64)
    # A norm takes away what is added to all of a group alike, but not to single channels.
    check_parameters(block, lambda: (block(Tensor(h), Tensor(m)) * weights).sum())


@pytest.mark.parametrize(
    ("widths", "patch", "stride"), [((4,), 1, 1), ((4, 8), 1, 2), ((4, 6, 8), 2, 8), ((4,), 4, 4)]
)
@pytest.mark.parametrize("size", [(8, 8), (16, 8)])
def test_shapes(widths, patch, stride, size):
    model = generator(np.float32, widths=widths, patch=patch)
    assert model.stride == stride
    with td.no_grad():
        y = model(maps(size=size), regions(size=size), styles(dtype=np.float32)).numpy()
    assert y.shape == (2, *size, 2) and y.dtype == np.float32
    assert np.abs(y).max() <= 1


def test_gradients_of_the_generator():
    model = generator(patch=2)
    td.gradcheck(lambda z: model(maps(), regions(), z), styles())


def test_a_map_is_told_with_the_style_of_each_region():
    model, m, r, z = generator(), maps(), regions(), styles()
    told = model._told(m, r, Tensor(z)).numpy()
    for n, i, j in np.ndindex(m.shape):
        expected = [*(m[n, i, j] == np.arange(3)), *to_numpy(z)[n, r[n, i, j]]]
        np.testing.assert_allclose(told[n, i, j], expected)


def test_coarse_levels_see_the_means():
    model = generator(widths=(4, 4, 4), patch=1)
    m = randn((1, 8, 8, 3), dtype=np.float64)
    full, half, quarter = model._at_each_level(Tensor(m))
    np.testing.assert_array_equal(full.numpy(), to_numpy(m))
    np.testing.assert_allclose(half.numpy(), to_numpy(m).reshape(1, 4, 2, 4, 2, 3).mean((2, 4)))
    np.testing.assert_allclose(quarter.numpy(), to_numpy(m).reshape(1, 2, 4, 2, 4, 3).mean((2, 4)))


def test_map_and_style_both_count_and_each_picture_is_its_own():
    model, m, r, z = generator(), maps(), regions(), styles()
    y = model(m, r, z).numpy()
    np.testing.assert_allclose(model(m[1:], r[1:], z[1:]).numpy(), y[1:], atol=1e-12)
    other = to_numpy(z).copy()
    other[0, r[0, 3, 4]] += 1
    changed = np.abs(model(m, r, asarray(other)).numpy() - y)
    assert changed[0, 3, 4].max() > 1e-4 and not changed[1].any()
    other = m.copy()
    other[0, 0, 0] = (other[0, 0, 0] + 1) % 3
    changed = np.abs(model(other, r, z).numpy() - y)
    assert changed[0, 0, 0].max() > 1e-4 and not changed[1].any()


def test_learns_to_paint_by_numbers():
    """Class 0 dark, class 1 light: a few steps of a squared error."""
    model = generator(np.float32, widths=(8, 8), hidden=8)
    optimiser = td.optim.Adam(model.parameters(), lr=1e-2)
    m = np.arange(8 * 64).reshape(8, 8, 8) // 5 % 2
    wanted = asarray((m[..., None] * 1.6 - 0.8).repeat(2, axis=3).astype(np.float32))
    for _ in range(30):
        optimiser.zero_grad()
        loss = ops.mse_loss(model(m, np.zeros_like(m), randn((8, 1, 2))), wanted)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05


def test_refusals():
    for settings, message in (
        ({"widths": ()}, "widths are none"),
        ({"hidden": 0}, "hidden is 0"),
        ({"latent": 0}, "latent is 0"),
        ({"norm_groups": 3}, "groups 3 does not divide channels 8"),
    ):
        with pytest.raises(ValueError, match=message):
            generator(**settings)
    model = generator()
    for given, message in (
        ((maps(), regions(), styles(latent=3)), r"z has shape \(2, 5, 3\), expected \(N, R, 2\)"),
        ((maps(3), regions(), styles()), r"maps of shape \(2, 8, 8\), got \(3, 8, 8\)"),
        ((maps()[0], regions(), styles()), r"maps have shape \(8, 8\), expected \(N, H, W\) with"),
        ((maps()[:, :7], regions(), styles()), "divisible by 2"),
        ((maps() + 1, regions(), styles()), "SpadeGenerator: expected 0 … 3 in maps, got 1 … 4"),
        ((maps(), regions()[:, :4], styles()), "regions: expected maps of shape"),
        ((maps(), regions() + 1, styles()), "regions: expected 0 … 4 in maps, got 1 … 5"),
    ):
        with pytest.raises(ValueError, match=message):
            model(*given)
