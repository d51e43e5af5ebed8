"""A detector's masks: shapes, gradients, refusals; each box is answered by itself."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import Detector, MaskDetector
from tinydiff.models.mask_head import MaskHead

TWO, NONE, ONE = [[1.0, 2, 9, 11], [4, 4, 12, 16]], np.zeros((0, 4)), [[0.0, 0, 16, 16]]
BOXES = [np.array(TWO), NONE, np.array(ONE)]


def tiny(**settings):
    td.seed(0)
    detector = Detector(3, 14, widths=(8, 16), blocks=(1, 0), patch=2)
    return MaskDetector(detector, **{"width": 8, "blocks": 1, **settings})


def spoken(model):
    """The model with blocks that no longer say zero."""
    for name, parameter in model.named_parameters():
        if not to_numpy(parameter.data).any():
            values = np.random.default_rng(len(name)).standard_normal(parameter.shape)
            parameter.data[...] = asarray(0.1 * values.astype(parameter.dtype))
    return model


def pictures(n=3, dtype=np.float32):
    return np.random.default_rng(1).standard_normal((n, 16, 16, 3)).astype(dtype)


def test_a_mask_for_each_box():
    assert tiny()(asarray(pictures()), BOXES).shape == (3, 28, 28)
    assert MaskHead(12)(asarray(np.zeros((2, 7, 5, 12), np.float32))).shape == (2, 14, 10)


def test_a_box_is_answered_by_itself():
    model, x = spoken(tiny()), asarray(pictures())
    together = model(x, BOXES).numpy()
    assert np.abs(together[0] - together[1]).max() > 1e-3
    alone = model(x[2:], BOXES[2:]).numpy()
    np.testing.assert_allclose(alone, together[2:], atol=1e-5)
    turned = model(x, [BOXES[0][::-1], *BOXES[1:]]).numpy()
    np.testing.assert_allclose(turned, together[[1, 0, 2]], atol=1e-5)


def test_it_sees_what_the_box_shows():
    """The head's input is the picture, two by two pixels, and the detector's first features."""
    model, x = spoken(tiny()), asarray(pictures(1))
    seen = []
    model.head.forward = lambda crops: seen.append(crops) or crops
    model(x, BOXES[:1])
    (crops,) = seen
    assert crops.shape == (2, 14, 14, 12 + 8)
    picture = ops.pixel_unshuffle(ops.roi_align(x, boxes=BOXES[:1], size=28), factor=2)
    np.testing.assert_array_equal(crops[..., :12].numpy(), picture.numpy())
    features = ops.roi_align(model.detector.features(x), boxes=[BOXES[0] / 2], size=14)
    np.testing.assert_array_equal(crops[..., 12:].numpy(), features.numpy())


def test_no_boxes_no_masks_and_no_gradient():
    model, x = tiny(), asarray(pictures(2))
    logits = model(x, [np.zeros((0, 4))] * 2)
    assert logits.shape == (0, 28, 28)
    logits.sum().backward()
    for name, parameter in model.head.named_parameters():
        assert parameter.grad is None or not to_numpy(parameter.grad).any(), name


def test_boxes_on_the_border_and_without_area():
    boxes = [np.array([[0.0, 0, 16, 16], [12, 12, 16, 16], [3, 3, 3, 9], [16, 16, 16, 16]])]
    assert np.isfinite(spoken(tiny())(asarray(pictures(1)), boxes).numpy()).all()


def test_gradients():
    model = spoken(tiny().astype(np.float64))
    x = pictures(dtype=np.float64)
    td.gradcheck(lambda x: model(x, BOXES), x)
    weights = asarray(np.random.default_rng(2).standard_normal((3, 28, 28)))
    (model(asarray(x), BOXES) * weights).sum().backward()
    for name, parameter in model.named_parameters():
        used = name.startswith(("head", "detector.body.0", "detector.body.1"))
        assert (parameter.grad is not None and bool(parameter.grad.any())) == used, name


def test_a_frozen_detector_costs_nothing():
    model = spoken(tiny())
    model.detector.requires_grad_(False)
    assert not model.detector.features(asarray(pictures())).requires_grad
    model(asarray(pictures()), BOXES).sum().backward()
    assert all(p.grad is None for p in model.detector.parameters())
    assert all(p.grad is not None for p in model.head.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 12}, "norm_groups that divide the width"),
        ({"blocks": -1}, "blocks ≥ 0"),
        ({"width": 0}, "width"),
        ({"norm_groups": 0}, "norm_groups"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


def test_refused_boxes_and_pictures():
    model, x = tiny(), asarray(pictures())
    with pytest.raises(ValueError, match="for each of 3 images"):
        model(x, BOXES[:2])
    with pytest.raises(ValueError, match="not finite corners"):
        model(x, [b[:, ::-1] for b in BOXES])
    with pytest.raises(ValueError, match="divisible by 4"):
        model(x[:, :14], BOXES)
