"""The gradient at the picture: against NumPy by hand, by each rule; and no trace on the model."""

import importlib

import numpy as np
import pytest
from visualize.small_nets import Affine, Small, pictures

import tinydiff as td
from tinydiff import kernels, nn, visualize
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.visualize import Unit, gradient, has_relu, input_gradient, logit

METHODS = {
    "gradient": gradient,
    "guided": lambda *a: gradient(*a, rule="guided"),
    "deconvnet": lambda *a: gradient(*a, rule="deconvnet"),
    "saliency": visualize.saliency,
    "input x gradient": visualize.input_times_gradient,
    "smooth": lambda *a: visualize.smooth_grad(*a, samples=3),
    "integrated": lambda *a: visualize.integrated_gradients(*a, steps=3),
    "grad-cam": lambda *a: visualize.grad_cam(*a, "body.4"),
    "occlusion": lambda *a: visualize.occlusion(*a, patch=6, stride=4),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def test_of_an_affine_function(rng):
    weight = rng.standard_normal((5, 4, 3)).astype(np.float32)
    found = gradient(Affine(weight), pictures(2, 5, 4), logit(0))
    np.testing.assert_allclose(found, np.stack([weight] * 2), rtol=1e-6)


@pytest.mark.parametrize("rule", ["plain", "deconvnet", "guided"])
def test_of_two_layers_by_hand(rule, rng):
    """Linear, ReLU, max over pairs, ReLU, linear; in NumPy, straight from the formulas."""
    a, b = rng.standard_normal((12, 8)), rng.standard_normal((4, 3))
    model = nn.Sequential(
        nn.Conv2d(12, 8, 1, bias=False), nn.ReLU(), nn.MaxPool2d((1, 2)), nn.ReLU(), nn.Flatten(),
        nn.Linear(8, 3, bias=False),
    ).astype(np.float64)  # fmt: skip
    b = rng.standard_normal((8, 3))
    model[0].weight.data, model[5].weight.data = asarray(a[None, None]), asarray(b)
    x = rng.uniform(-1, 1, (1, 1, 2, 12))
    h = x[0, 0] @ a  # two pixels, 8 channels
    pooled = np.maximum(h, 0).max(axis=0)
    back = {
        "plain": lambda g, z: g * (z > 0),
        "deconvnet": lambda g, z: g * (g > 0),
        "guided": lambda g, z: g * (z > 0) * (g > 0),
    }[rule]
    g = back(b[:, 1], pooled)
    switched = np.zeros((2, 8))
    switched[np.maximum(h, 0).argmax(axis=0), np.arange(8)] = g
    expected = back(switched, h) @ a.T
    np.testing.assert_allclose(gradient(model, x, logit(1), rule=rule)[0, 0], expected, atol=1e-12)


def test_pictures_of_a_batch_are_on_their_own(monkeypatch):
    model, images = Small(), pictures(5)
    whole = gradient(model, images, logit(2))
    monkeypatch.setattr(importlib.import_module("tinydiff.visualize.gradient"), "BATCH", 2)
    np.testing.assert_allclose(gradient(model, images, logit(2)), whole, atol=1e-7)
    np.testing.assert_allclose(gradient(model, images[3:4], logit(2)), whole[3:4], atol=1e-7)


@every_method
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 28), (3, 36)])
def test_grey_and_colour(method, channels, side):
    model = Small(channels, side=side)
    found = method(model, pictures(2, side, side, channels), logit(1))
    assert type(found) is np.ndarray and found.dtype == np.float32
    assert found.shape[:3] == (2, side, side) and found.shape[3:] in ((), (channels,))
    assert np.isfinite(found).all() and found.any()


@every_method
def test_floats_are_taken_too(method):
    model, images = Small(), pictures(2)
    td.seed(1)
    from_bytes = method(model, images, logit(1))
    td.seed(1)
    np.testing.assert_array_equal(method(model, to_float(images), logit(1)), from_bytes)


@every_method
def test_leaves_no_trace(method, monkeypatch):
    model = Small()
    model.body.eval()
    model.body[0].bias.requires_grad = False
    x = td.Tensor(asarray(to_float(pictures(2))))
    model(x).sum().backward()
    look = lambda: (
        [m.training for m in model.modules()],
        [
            (p.requires_grad, p.grad is None or to_numpy(p.grad).tobytes())
            for p in model.parameters()
        ],
        {name: a.tobytes() for name, a in model.state_dict().items()},
    )
    before = look()

    def refuse(*given):
        raise AssertionError("a weight's gradient was computed")

    monkeypatch.setattr(kernels, "conv2d_weight_grad", refuse)
    monkeypatch.setattr(kernels, "sum_rows", refuse)  # of biases
    method(model, pictures(2), logit(1))
    with pytest.raises(ValueError, match="channel 9"):
        method(model, pictures(2), logit(9))
    assert look() == before
    assert before[0][0] and not all(before[0]), "modes differ, to see that each is kept"


@every_method
def test_pictures_of_another_range_are_refused(method):
    model = Small()
    with pytest.raises(ValueError, match=r"images: expected floats in \[−1, 1\], got 0 … 255"):
        method(model, pictures(2).astype(np.float32) * 0 + [0, 255, 0], logit(1))
    with pytest.raises(ValueError, match=r"images: expected \(N, H, W, C\)"):
        method(model, pictures(2)[0], logit(1))
    with pytest.raises(
        TypeError, match="images: expected a NumPy array of uint8 or floats, got in"
    ):
        method(model, pictures(2).astype(int), logit(1))


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_networks_without_relu_are_told_so(rule):
    model = Small(activation=nn.SiLU)
    with pytest.raises(ValueError, match=f"rule: '{rule}' is one of ReLU's.* no ReLU.*Small"):
        gradient(model, pictures(1), logit(0), rule=rule)
    assert gradient(model, pictures(1), logit(0)).any()
    with pytest.raises(ValueError, match="there is no ReLU between this target and the picture"):
        gradient(Small(), pictures(1), Unit("body.0", 0), rule=rule)


def test_whether_there_is_a_relu_on_the_way():
    for model, target, expected in (
        (Small(), logit(0), True),
        (Small(), Unit("body.1"), True),
        (Small(), Unit("body.0"), False),
        (Small(activation=nn.SiLU), logit(0), False),
    ):
        assert has_relu(model, pictures(3), target) is expected
        assert model.training and all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda m, x: m(x), r"target: it gave \(2, 5\), expected a Tensor \(2,\)"),
        (lambda m, x: 3.0, "target: it gave float"),
        (lambda m, x: m(x).detach()[:, 0], "target: it does not depend on the picture"),
    ],
)
def test_targets_that_are_no_number_a_picture(target, message):
    with pytest.raises(ValueError, match=message):
        input_gradient(Small(), asarray(to_float(pictures(2))), target)


def test_an_unknown_rule():
    with pytest.raises(ValueError, match="rule: 'reversed' is none of ReLU's: plain, deconvnet"):
        gradient(Small(), pictures(1), logit(0), rule="reversed")
