"""The perceptual distance against its equation, and that it sees what it should."""

import numpy as np
import pytest
from small import pictures, vgg

import tinydiff as td
from tinydiff import Tensor, backend, ops
from tinydiff.autoencoding import PerceptualDistance
from tinydiff.backend import asarray, to_numpy
from tinydiff.kernels import workers
from tinydiff.models import ResNet
from tinydiff.team import team_of


def test_is_what_its_equation_says():
    model = vgg(np.float64)
    x, y = (pictures(2, (9, 8), np.float64, seed) for seed in (1, 2))
    expected = 0
    a, b = x, y
    for stage in model.stages:
        seen = []
        for picture in (a, b):
            maps = stage.relu2(stage.conv2(stage.relu1(stage.conv1(Tensor(picture)))))
            length = np.sqrt((maps.numpy() ** 2).sum(axis=-1, keepdims=True))
            seen.append((maps, maps.numpy() / np.where(length, length, 1)))
        squared = ((seen[0][1] - seen[1][1]) ** 2).sum(axis=-1)
        expected = expected + squared.mean(axis=(1, 2))
        a, b = (stage.pool(maps).data for maps, _ in seen)
    distance = PerceptualDistance(model)
    np.testing.assert_allclose(distance(x, y).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(distance(y, x).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(distance(x, x).numpy(), 0, atol=1e-12)
    assert (expected > 0.01).all()


def test_gradients_of_the_pictures_and_of_nothing_else():
    distance, x, y = PerceptualDistance(vgg(np.float64)), *pictures(2, (4, 4), np.float64)[:, None]
    td.gradcheck(distance, x, y)
    picture = Tensor(x, requires_grad=True)
    distance(picture, y).sum().backward()
    assert to_numpy(picture.grad).any()
    assert all(p.grad is None for p in distance.parameters())


def test_where_nothing_is_seen_nothing_is_infinite():
    model = vgg()
    for stage in model.stages:
        stage.conv2.bias.data[...] = -100  # ReLU says 0 everywhere
    x = Tensor(pictures(), requires_grad=True)
    d = PerceptualDistance(model)(x, pictures(seed=2))
    d.sum().backward()
    assert not d.numpy().any() and not to_numpy(x.grad).any()


@pytest.mark.skipif(backend.name != "numpy", reason="processes share work on CPUs only")
def test_processes_share_it_and_agree():
    distance = PerceptualDistance(vgg(widths=(16, 24)))
    x, y = (pictures(10, (64, 64), seed=seed) for seed in (1, 2))
    alone, together = Tensor(x, requires_grad=True), Tensor(x, requires_grad=True)
    one = distance(alone, y)
    with team_of(distance) as team:
        two = distance(together, y)
        assert workers.THREADS == 1 or team._helpers, "nothing was shared out"
    np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-5)
    for d in (one, two):
        ops.sum(d).backward()
    scale = np.abs(to_numpy(alone.grad)).max()
    np.testing.assert_allclose(to_numpy(alone.grad), to_numpy(together.grad), atol=1e-5 * scale)


def test_the_classifier_is_frozen():
    model = vgg()
    PerceptualDistance(model)
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_refusals():
    with pytest.raises(TypeError, match="expected a VGG, got ResNet"):
        PerceptualDistance(ResNet(3, 2, widths=(8,), blocks=(0,)))
    distance = PerceptualDistance(vgg())
    for x, message in (
        (pictures(size=(3, 8)), "H and W ≥ 4"),
        (pictures()[..., :1], r"expected \(N, H, W, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            distance(x, x)
    with pytest.raises(ValueError, match="y: expected shape"):
        distance(pictures(), asarray(to_numpy(pictures())[:1]))
