"""GauGAN against PyTorch: SPADE, its block and its generator composed anew of torch's functions,
and the hinge losses; values and gradients, odd sizes included."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import data, interop, ops
from tinydiff.autoencoding import hinge_discriminator_loss, hinge_generator_loss
from tinydiff.backend import asarray, to_numpy
from tinydiff.gaugan import regions_of
from tinydiff.models import SpadeGenerator
from tinydiff.models.semantic_map import one_hot
from tinydiff.models.spade import Spade, SpadeBlock

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
F = torch.nn.functional
pytestmark = pytest.mark.oracle


def weights_of(model):
    """name → a torch tensor that requires grad"""
    found = {}
    for name, parameter in model.named_parameters():
        array = to_numpy(parameter.data)
        kind = {4: "conv", 2: "linear"}.get(array.ndim)
        array = interop.to_torch(array, kind) if kind else array.copy()
        found[name] = torch.tensor(array, requires_grad=True)
    return found


def conv(w, name, x):
    weight = w[f"{name}.weight"]
    return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def spade(w, name, x, m, groups):
    u = F.relu(conv(w, f"{name}look", m))
    return F.group_norm(x, groups) * (1 + conv(w, f"{name}gamma", u)) + conv(w, f"{name}beta", u)


def block(w, name, x, m, groups):
    y = conv(w, f"{name}conv1", F.leaky_relu(spade(w, f"{name}spade1.", x, m, groups), 0.2))
    y = conv(w, f"{name}conv2", F.leaky_relu(spade(w, f"{name}spade2.", y, m, groups), 0.2))
    if f"{name}shortcut.weight" in w:
        x = conv(w, f"{name}shortcut", spade(w, f"{name}spade3.", x, m, groups))
    return x + y


def pictures(rng, *shape):
    return rng.standard_normal(shape)


def last(x):
    return x.detach().movedim(1, -1).numpy()


def same_gradients(model, w):
    for name, parameter in model.named_parameters():
        kind = {4: "conv", 2: "linear"}.get(parameter.ndim)
        expected = w[name].grad.numpy()
        expected = interop.from_torch(expected, kind) if kind else expected
        np.testing.assert_allclose(to_numpy(parameter.grad), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (8, 8), (7, 12)])
@pytest.mark.parametrize(("kind", "out"), [("layer", 6), ("block", 6), ("block", 4), ("block", 8)])
def test_layer_and_block(kind, out, size):
    td.seed(0)
    settings = {"hidden": 5, "groups": 2}
    model = Spade(6, 3, **settings) if kind == "layer" else SpadeBlock(6, out, 3, **settings)
    model.astype(np.float64)
    w, rng = weights_of(model), np.random.default_rng(1)
    h, m = pictures(rng, 2, *size, 6), pictures(rng, 2, *size, 3)
    g = pictures(rng, 2, *size, out)
    ours = td.Tensor(asarray(h), requires_grad=True), td.Tensor(asarray(m), requires_grad=True)
    theirs = [torch.tensor(a).movedim(-1, 1).requires_grad_() for a in (h, m)]
    for leaf in theirs:
        leaf.retain_grad()
    y = model(*ours)
    expected = (spade if kind == "layer" else block)(w, "", *theirs, 2)
    np.testing.assert_allclose(y.numpy(), last(expected), rtol=1e-8, atol=1e-10)
    (y * asarray(g)).sum().backward()
    (expected * torch.tensor(g).movedim(-1, 1)).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(to_numpy(a.grad), last(b.grad), rtol=1e-7, atol=1e-9)
    same_gradients(model, w)


@pytest.mark.parametrize("patch", [1, 2])
def test_the_whole_generator(patch):
    """One-hot channels by torch's own function, styles looked up, the map at half the size by its
    average pooling, and a picture out of channels by its pixel shuffle."""
    td.seed(0)
    settings = {"widths": (4, 8), "hidden": 4, "norm_groups": 2, "patch": patch}
    model = SpadeGenerator(3, map_classes=4, latent=2, **settings).astype(np.float64)
    w, rng = weights_of(model), np.random.default_rng(1)
    maps, regions = rng.integers(0, 5, (2, 12, 8)), rng.integers(0, 3, (2, 12, 8))
    z = rng.standard_normal((2, 3, 2))
    theirs = torch.tensor(z, requires_grad=True)
    style = torch.stack([theirs[n][torch.tensor(regions[n])] for n in range(2)])
    m = torch.cat([F.one_hot(torch.tensor(maps), 5)[..., :4].double(), style], -1).movedim(-1, 1)
    m = F.pixel_unshuffle(m, patch)
    small = F.avg_pool2d(m, 2)
    h = block(w, "blocks.0.", conv(w, "start", small), small, 2)
    h = block(w, "blocks.1.", F.interpolate(h, scale_factor=2, mode="nearest"), m, 2)
    expected = torch.tanh(F.pixel_shuffle(conv(w, "head", F.leaky_relu(h, 0.2)), patch))
    ours = td.Tensor(asarray(z), requires_grad=True)
    y = model(maps, regions, ours)
    np.testing.assert_allclose(y.numpy(), last(expected), rtol=1e-8, atol=1e-10)
    g = rng.standard_normal(y.shape)
    (y * asarray(g)).sum().backward()
    (expected * torch.tensor(g).movedim(-1, 1)).sum().backward()
    np.testing.assert_allclose(to_numpy(ours.grad), theirs.grad.numpy(), rtol=1e-7, atol=1e-9)
    same_gradients(model, w)


def test_hinge_losses():
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((2, 3, 4, 5))
    ours = [td.Tensor(asarray(a), requires_grad=True) for a in (real, fake)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (real, fake)]
    loss = hinge_discriminator_loss(*ours)
    # As in Park et al.'s code: −mean(min(D(x) − 1, 0)), and the same of −D, of which half is taken.
    zero = torch.zeros(())
    expected = -torch.min(theirs[0] - 1, zero).mean() - torch.min(-theirs[1] - 1, zero).mean()
    expected = expected / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    loss.backward()
    expected.backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(to_numpy(a.grad), b.grad.numpy(), rtol=1e-12)
    drawn = td.Tensor(asarray(fake), requires_grad=True)
    loss = hinge_generator_loss(drawn)
    loss.backward()
    assert loss.item() == pytest.approx(-fake.mean())
    np.testing.assert_allclose(to_numpy(drawn.grad), -1 / fake.size)


def test_a_convolution_of_one_hot_channels_is_an_embedding():
    """1×1: torch's own table, looked up at each pixel."""
    rng = np.random.default_rng(0)
    maps, weight = rng.integers(0, 7, (2, 5, 3)), rng.standard_normal((1, 1, 7, 4))
    got = ops.conv2d(one_hot(maps, 7, np.float64), asarray(weight)).numpy()
    expected = F.embedding(torch.tensor(maps), torch.tensor(weight[0, 0])).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_regions_are_scipys_components():
    """Class by class, of eight neighbours; numbers may differ, the cut into regions may not."""
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(0)
    scenes = data.shapes("test", 6, side=64)
    for maps in (
        rng.integers(0, 3, (4, 17, 23)),
        data.semantic_masks(scenes.labels, scenes.instances),
    ):
        for m, got in zip(maps, regions_of(maps), strict=True):
            expected, count = np.zeros_like(m), 0
            for k in range(1, m.max() + 1):
                found, more = ndimage.label(m == k, np.ones((3, 3)))
                expected[found > 0] = found[found > 0] + count
                count += more
            pairs = set(zip(got.ravel().tolist(), expected.ravel().tolist(), strict=True))
            assert len(pairs) == count + 1 == got.max() + 1
