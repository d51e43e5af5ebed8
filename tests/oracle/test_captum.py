"""What a network sees, as captum sees it: the same numbers on the same weights, in float64."""

import numpy as np
import pytest
from visualize.small_nets import pictures

from tinydiff import visualize
from tinydiff.images import to_float
from tinydiff.interop import from_torch, to_torch
from tinydiff.models import VGG
from tinydiff.visualize import Unit, gradient, logit

torch = pytest.importorskip("torch")
attr = pytest.importorskip("captum.attr")
torch.set_num_threads(1)
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:Setting (backward|forward)"),  # captum sets its hooks
    pytest.mark.filterwarnings("ignore:Input Tensor"),  # captum asks for its gradient itself
]
LABEL, SIDE, COLOURS = 3, 16, 3
LAST, CHANNEL, PLACE = "stages.1.conv2", 5, (2, 6)


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def nets():
    """The same network twice, ours and PyTorch's, and the convolution in the latter that is LAST"""
    ours = VGG(COLOURS, 7, widths=(6, 8)).eval().astype(np.float64)
    theirs, convs = [], []
    for stage in ours.stages:
        for conv in (stage.conv1, stage.conv2):
            weight = to_torch(conv.weight.data, "conv")
            copy = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            copy.weight.data = torch.tensor(weight)
            conv.bias.data += 0.1  # a bias of zero would hide a mistake
            copy.bias.data = torch.tensor(conv.bias.numpy())
            theirs += [copy, torch.nn.ReLU()]
            convs.append(copy)
        theirs.append(torch.nn.MaxPool2d(2))
    linear = torch.nn.Linear(8, 7)
    linear.weight.data = torch.tensor(to_torch(ours.head.weight.data, "linear"))
    linear.bias.data = torch.tensor(ours.head.bias.numpy())
    return ours, torch.nn.Sequential(*theirs, Mean(), linear).eval(), convs[-1]


@pytest.fixture(scope="module")
def images():
    return to_float(pictures(4, SIDE, SIDE, COLOURS)).astype(np.float64)


def theirs_of(method, images, *given, **settings):
    x = torch.tensor(to_torch(images, "image"), requires_grad=True)
    found = method.attribute(x, *given, **settings)
    return from_torch(found.detach().numpy(), "image")


def equal(ours, theirs, tolerance=1e-12):
    assert np.abs(theirs).max() > 1e-4
    np.testing.assert_allclose(ours, theirs, rtol=1e3 * tolerance, atol=tolerance)


def test_the_networks_are_the_same(nets, images):
    ours, theirs, _ = nets
    with torch.no_grad():
        expected = theirs(torch.tensor(to_torch(images, "image"))).numpy()
    np.testing.assert_allclose(ours(images).numpy(), expected, atol=1e-12)


def test_saliency(nets, images):
    ours, theirs, _ = nets
    expected = theirs_of(attr.Saliency(theirs), images, LABEL)
    equal(visualize.saliency(ours, images, logit(LABEL)), expected.max(axis=3))
    signed = theirs_of(attr.Saliency(theirs), images, LABEL, abs=False)
    equal(gradient(ours, images, logit(LABEL)), signed)


def test_input_times_gradient(nets, images):
    ours, theirs, _ = nets
    expected = theirs_of(attr.InputXGradient(theirs), images, LABEL)
    equal(visualize.input_times_gradient(ours, images, logit(LABEL)), expected)


@pytest.mark.parametrize(
    ("rule", "name"), [("guided", "GuidedBackprop"), ("deconvnet", "Deconvolution")]
)
def test_rules_of_relu(rule, name, nets, images):
    ours, theirs, _ = nets
    expected = theirs_of(getattr(attr, name)(theirs), images, LABEL)
    equal(gradient(ours, images, logit(LABEL), rule=rule), expected)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("plain", "NeuronGradient"),
        ("guided", "NeuronGuidedBackprop"),
        ("deconvnet", "NeuronDeconvolution"),
    ],
)
def test_rules_of_relu_for_a_neuron(rule, name, nets, images):
    ours, theirs, layer = nets
    expected = theirs_of(getattr(attr, name)(theirs, layer), images, (CHANNEL, *PLACE))
    equal(gradient(ours, images, Unit(LAST, CHANNEL, PLACE), rule=rule), expected)


@pytest.mark.parametrize("steps", [1, 20])
@pytest.mark.parametrize("base", ["black", "grey", "each"])
def test_integrated_gradients(steps, base, nets, images):
    ours, theirs, _ = nets
    baseline = {"black": np.full_like(images, -1), "grey": images * 0, "each": images[::-1]}[base]
    expected = theirs_of(
        attr.IntegratedGradients(theirs),
        images,
        torch.tensor(to_torch(baseline, "image")),
        LABEL,
        n_steps=steps,
    )
    given = None if base == "black" else np.ascontiguousarray(baseline)
    found = visualize.integrated_gradients(ours, images, logit(LABEL), baseline=given, steps=steps)
    equal(found, expected, 1e-8)  # captum's weights are float32


def test_grad_cam(nets, images):
    ours, theirs, layer = nets
    method = attr.LayerGradCam(theirs, layer)
    x = torch.tensor(to_torch(images, "image"))
    small = method.attribute(x, LABEL, relu_attributions=True)
    expected = attr.LayerAttribution.interpolate(small, (SIDE, SIDE), "bilinear")
    equal(visualize.grad_cam(ours, images, logit(LABEL), LAST), expected.detach().numpy()[:, 0])


@pytest.mark.parametrize(
    ("patch", "stride"), [((5, 5), (5, 5)), ((6, 4), (3, 2)), ((7, 3), (4, 3))]
)
def test_occlusion(patch, stride, nets, images):
    ours, theirs, _ = nets
    expected = theirs_of(
        attr.Occlusion(theirs),
        images,
        sliding_window_shapes=(COLOURS, *patch),
        strides=(COLOURS, *stride),
        baselines=0.25,
        target=LABEL,
    )
    found = visualize.occlusion(ours, images, logit(LABEL), patch=patch, stride=stride, fill=0.25)
    equal(found, expected[..., 0], 1e-8)  # captum adds up in float32
