"""Grad-CAM, occlusion, filters and activations against loops in NumPy."""

import importlib

import numpy as np
import pytest
from visualize.small_nets import Affine, Small, pictures

from tinydiff import Tensor, nn
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.visualize import (
    Unit,
    activation_maps,
    answer_shapes,
    filters,
    grad_cam,
    last_of_each_size,
    logit,
    occlusion,
)


def forward(model, images):
    return to_numpy(model(Tensor(asarray(to_float(images)))).data)


def test_grad_cam_of_a_mean_and_a_linear_layer():
    """∂y_k/∂A_ijc = w_ck / pixels, so α_c is that, and the map max(0, Σ_c w_ck A_c) / pixels."""
    body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
    model = nn.Sequential(body, nn.GlobalAvgPool2d(), nn.Linear(6, 4))
    images = pictures(2, 6, 8)
    weight = to_numpy(model[2].weight.data)[:, 3]
    expected = np.maximum(forward(body, images) @ weight, 0) / 48
    assert expected.any()
    np.testing.assert_allclose(grad_cam(model, images, logit(3), "0"), expected, atol=1e-7)


def test_grad_cam_is_as_large_as_the_picture_and_smooth():
    model = Small()
    found = grad_cam(model, pictures(2), logit(1), "body")
    assert found.shape == (2, 12, 12) and (found >= 0).all() and found.any()
    coarse = found.reshape(2, 3, 4, 3, 4)
    assert np.ptp(coarse, axis=(2, 4)).max() > 0, "the maps of 3×3 were repeated, not interpolated"


def test_the_last_of_each_size():
    found = last_of_each_size(Small(), pictures(2))
    assert found == ["body.1", "body.4"], "not the last pool, and not the linear layer"
    silent = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.SiLU())
    assert last_of_each_size(silent, pictures(1)) == [""]
    with pytest.raises(ValueError, match="model: Linear has no convolution"):
        last_of_each_size(nn.Sequential(nn.Linear(3, 2)).eval()[0], pictures(1))


def test_grad_cam_refuses_layers_without_maps():
    with pytest.raises(ValueError, match=r"layer 'head': it answers \(2, 5\), expected maps"):
        grad_cam(Small(), pictures(2), logit(1), "head")
    with pytest.raises(ValueError, match="Small has none named 'tail'"):
        grad_cam(Small(), pictures(2), logit(1), "tail")


@pytest.mark.parametrize(("patch", "stride"), [(5, 3), ((4, 6), (4, 1)), (1, 1), (20, 20)])
@pytest.mark.parametrize("together", [1, 7, 64])
def test_occlusion_by_loops(patch, stride, together, monkeypatch):
    monkeypatch.setattr(importlib.import_module("tinydiff.visualize.occlusion"), "BATCH", together)
    model, images = Small(side=12).eval(), pictures(2)
    (ph, pw), (sh, sw) = ((p, p) if isinstance(p, int) else p for p in (patch, stride))
    drops, times = np.zeros((2, 12, 12)), np.zeros((12, 12))
    top = 0
    while True:
        left = 0
        while True:
            covered = to_float(images)
            covered[:, top : top + ph, left : left + pw] = 0.5
            answer = to_numpy(model(Tensor(asarray(covered))).data)[:, 1]
            drop = forward(model, images)[:, 1] - answer
            drops[:, top : top + ph, left : left + pw] += drop[:, None, None]
            times[top : top + ph, left : left + pw] += 1
            if left + pw >= 12:
                break
            left += sw
        if top + ph >= 12:
            break
        top += sh
    found = occlusion(model, images, logit(1), patch=patch, stride=stride, fill=0.5)
    np.testing.assert_allclose(found, drops / times, atol=1e-5)


def test_occlusion_of_an_affine_function(rng):
    model = Affine(rng.standard_normal((8, 6, 3)).astype(np.float32))
    images = pictures(2, 8, 6)
    found = occlusion(model, images, logit(0), patch=1)
    expected = (to_float(images) * to_numpy(model.weight.data)).sum(axis=3)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": 0}, "patch is 0"),
        ({"patch": 3, "stride": 0}, "stride is 0"),
        ({"patch": (5, 3), "stride": 4}, r"stride \(4, 4\): expected at most the patch, \(5, 3\)"),
        ({"patch": 3, "fill": 2.0}, r"fill is 2.0, expected a number in \[−1, 1\]"),
    ],
)
def test_occlusion_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        occlusion(Small(), pictures(1), logit(0), **settings)


def test_activation_maps(monkeypatch):
    model, images = Small(), pictures(5)
    monkeypatch.setattr(importlib.import_module("tinydiff.visualize.gradient"), "BATCH", 2)
    found = activation_maps(model, images, "body.2")
    inner = nn.Sequential(*list(model.body)[:3])
    np.testing.assert_allclose(found, forward(inner, images), atol=1e-6)
    assert activation_maps(model, images, "head").shape == (5, 5)
    with pytest.raises(ValueError, match=r"none named 'body.7'; it has body, body.0"):
        activation_maps(model, images, "body.7")


def test_answer_shapes():
    model = Small()
    found = answer_shapes(model, pictures(2))
    body = {"0": (12, 12, 6), "1": (12, 12, 6), "2": (6, 6, 6), "3": (6, 6, 8), "4": (6, 6, 8)}
    expected = {f"body.{k}": shape for k, shape in body.items()}
    expected |= {"body.5": (3, 3, 8), "body": (3, 3, 8), "dropout": (72,), "head": (5,), "": (5,)}
    assert list(found.items()) == list(expected.items())
    assert model.training

    relu = nn.ReLU()
    twice = nn.Sequential(relu, nn.Conv2d(3, 4, 3), relu)
    found = answer_shapes(twice, pictures(1))
    assert list(found.items()) == [("1", (10, 10, 4)), ("0", (10, 10, 4)), ("", (10, 10, 4))]


def test_filters():
    model = Small()
    weight = to_numpy(model.body[0].weight.data)
    found = filters(model)
    assert found.shape == (6, 3, 3, 3)
    assert all(np.array_equal(found[o], weight[..., o]) for o in range(6))
    found[:] = 0
    assert to_numpy(model.body[0].weight.data).all(), "filters are a copy"
    assert filters(model, "body.3").shape == (8, 3, 3, 6)


def test_filters_refuse():
    with pytest.raises(ValueError, match=r"layer 'head' is Linear, expected a Conv2d"):
        filters(Small(), "head")
    with pytest.raises(ValueError, match="Small has none named 'conv1'; it has body"):
        filters(Small(), "conv1")
    with pytest.raises(ValueError, match="model: Linear has no convolution"):
        filters(nn.Linear(2, 2))


def test_a_unit_is_a_target_of_occlusion_too():
    found = occlusion(Small(), pictures(1), Unit("body.0", 0, (2, 2)), patch=2, stride=2)
    assert found[0, :4, :4].any() and not found[0, 4:].any() and not found[0, :, 4:].any()
