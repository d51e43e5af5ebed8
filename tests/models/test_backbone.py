"""What networks stand on, and how one takes over what another has learned."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import Backbone, Detector, LocaliserNetwork, backbone_weights

TINY = {"widths": (8, 16), "blocks": (1, 1), "patch": 2}
PICTURES = np.random.default_rng(0).standard_normal((2, 8, 12, 3)).astype(np.float32)


def test_features_at_each_place():
    backbone = Backbone(3, **TINY)
    assert (backbone.stride, backbone.out_channels) == (4, 16)
    assert backbone(asarray(PICTURES)).shape == (2, 2, 3, 16)


def test_a_detector_is_one_and_keeps_the_names_it_had():
    names = set(Detector(3, 14, **TINY).state_dict())
    assert names == {*Backbone(3, **TINY).state_dict(), "head.weight", "head.bias"}
    assert {"body.0.weight", "body.1.conv1.weight", "norm.weight"} < names


@pytest.mark.parametrize("teacher", [Backbone, Detector, LocaliserNetwork])
def test_what_one_has_learned_another_takes_over(teacher):
    td.seed(1)
    others = {Backbone: (3,), Detector: (3, 14), LocaliserNetwork: (3, 5)}[teacher]
    teacher = teacher(3, *others[1:], **TINY)
    pupil = LocaliserNetwork(3, 7, **TINY)
    before = pupil.state_dict()
    pupil.backbone.load_state_dict(backbone_weights(teacher.state_dict()))
    body = getattr(teacher, "backbone", teacher)
    expected = Backbone.forward(body, asarray(PICTURES)).numpy()
    np.testing.assert_array_equal(pupil.backbone(asarray(PICTURES)).numpy(), expected)
    for name, after in pupil.state_dict().items():
        if name.startswith(("what", "where")):
            np.testing.assert_array_equal(after, before[name])


def test_refusals_name_who_refuses():
    with pytest.raises(ValueError, match=r"Backbone: x has shape .*H and W divisible by 4"):
        Backbone(3, **TINY)(asarray(PICTURES[:, :6]))
    with pytest.raises(ValueError, match="Backbone: patch is 0"):
        Backbone(3, patch=0)
    with pytest.raises(ValueError, match="Detector: channels is 0"):
        Detector(3, 0)


def test_frozen_it_costs_nothing_and_stays():
    td.seed(0)
    model = LocaliserNetwork(3, 5, **TINY)
    model.backbone.requires_grad_(False)
    (model(asarray(PICTURES)) ** 2).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("backbone."), name
    assert to_numpy(model.where.weight.grad).any()
