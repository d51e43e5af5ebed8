"""The small YOLO network: shapes, gradients, refusals; and it learns four scenes by heart."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import data, optim, vision
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.models import Detector


def tiny(**settings):
    td.seed(0)
    return Detector(3, 14, **{"widths": (8, 16), "blocks": (1, 1), "patch": 2, **settings})


def pictures(n=2, size=(8, 12), dtype=np.float32):
    return np.random.default_rng(1).standard_normal((n, *size, 3)).astype(dtype)


def spoken(model):
    """The model with a last layer, and blocks, that no longer say zero."""
    for name, parameter in model.named_parameters():
        if not to_numpy(parameter.data).any():
            shape = parameter.shape
            values = np.random.default_rng(len(name)).standard_normal(shape).astype(parameter.dtype)
            parameter.data[...] = asarray(0.1 * values)
    return model


@pytest.mark.parametrize(
    ("settings", "stride"),
    [
        ({}, 4),
        ({"patch": 1}, 2),
        ({"widths": (8,), "blocks": (0,), "patch": 4}, 4),
        ({"widths": (8, 8, 16), "blocks": (0, 2, 1), "patch": 1}, 4),
    ],
)
def test_numbers_in_each_cell(settings, stride):
    model = tiny(**settings)
    assert model.stride == stride
    assert model(asarray(pictures())).shape == (2, 8 // stride, 12 // stride, 14)


def test_the_recipe_has_13_by_13_cells():
    model = Detector(3, 75)
    assert model(asarray(pictures(1, (208, 208)))).shape == (1, 13, 13, 75)


def test_it_begins_with_every_score_the_same():
    assert not to_numpy(tiny()(asarray(pictures())).data).any()


def test_gradients():
    model = spoken(tiny().astype(np.float64))
    x = pictures(dtype=np.float64)
    td.gradcheck(model, x)
    (model(asarray(x)) * asarray(np.random.default_rng(2).standard_normal(14))).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_each_picture_is_looked_at_by_itself():
    model, x = spoken(tiny()).astype(np.float64), asarray(pictures(3, dtype=np.float64))
    y = model(x).numpy()
    assert np.abs(y[0] - y[1]).max() > 0.01
    np.testing.assert_allclose(model(x[::-1]).numpy(), y[::-1], atol=1e-12)
    np.testing.assert_allclose(model(x[1:2]).numpy(), y[1:2], atol=1e-12)


def test_what_is_moved_by_a_cell_is_found_a_cell_further():
    """Where no border and no norm over the whole picture is in the way, nothing knows its place."""
    model = spoken(tiny(blocks=(0, 0)))
    model.norm.forward = lambda x: x
    x = pictures(1, (32, 32))
    y, moved = (model(asarray(a)).numpy() for a in (x, np.roll(x, 4, axis=2)))
    np.testing.assert_allclose(moved[:, 2:-2, 3:-2], y[:, 2:-2, 2:-3], atol=1e-5)


@pytest.mark.parametrize("count", [0, 2])
def test_features_of_the_first_resolution(count):
    model, x = spoken(tiny(blocks=(count, 1))), asarray(pictures())
    features = model.features(x)
    assert features.shape == (2, 4, 6, 8)
    assert model.body[count + 1].stride == 2
    h = features
    for i in range(count + 1, len(model.body)):
        h = model.body[i](h)
    np.testing.assert_array_equal(model(x).numpy(), model.head(model.norm(h)).numpy())


@pytest.mark.parametrize("shape", [(8, 12, 3), (2, 8, 12, 1), (2, 8, 10, 3), (2, 6, 12, 3)])
def test_refused_pictures(shape):
    message = r"Detector: x has shape .*\(N, H, W, 3\) with H and W divisible by 4"
    with pytest.raises(ValueError, match=message):
        tiny()(asarray(np.zeros(shape, np.float32)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": ()}, "one number of blocks"),
        ({"blocks": (1,)}, r"widths \(8, 16\), blocks \(1,\)"),
        ({"blocks": (1, -1)}, "blocks ≥ 0"),
        ({"widths": (8, 12)}, "norm_groups=8 does not divide"),
        ({"widths": (0, 8)}, "norm_groups=8 does not divide"),
        ({"patch": 0}, "patch"),
        ({"norm_groups": 0}, "norm_groups"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


def test_learns_four_scenes_by_heart():
    scenes = data.shapes("train", 4, side=64, objects=(1, 3))
    truths = vision.objects_of(scenes.labels, scenes.boxes)
    sizes = np.concatenate([t.boxes[:, 2:] - t.boxes[:, :2] for t in truths])
    classes = len(scenes.classes)
    grid = vision.YoloGrid((64, 64), (8, 8), vision.anchors_of(sizes / 8, 2), classes)
    td.seed(0)
    model = Detector(3, grid.channels, widths=(16, 32), blocks=(1, 1), patch=4)
    x, targets = asarray(to_float(scenes.images)), vision.assign(truths, grid)
    optimiser = optim.AdamW(model.parameters(), lr=5e-3)

    def precision():
        with td.no_grad():
            found = vision.detect(model(x), grid)
        return vision.coco_average_precision(found, truths, classes=classes)

    assert precision().ap50 < 0.3
    for _ in range(150):
        optimiser.zero_grad()
        vision.yolo_loss(model(x), targets, grid).total.backward()
        optimiser.step()
    assert precision().ap50 > 0.9
    assert precision().ap > 0.6
