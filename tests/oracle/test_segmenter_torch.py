"""Segmentation against PyTorch: networks with the same weights, their work, and mean IoU.

The networks are written anew with torch.nn; outputs, and the gradients of the loss with respect to
every weight and the picture, must agree.
"""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import interop, nn, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import EncoderDecoder, SlidingWindow
from tinydiff.vision import class_iou, confusion_matrix, mean_iou

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
F = torch.nn.functional
pytestmark = pytest.mark.oracle
CLASSES = 5


def kind_of(owner: nn.Module, array) -> str | None:
    """Which memory layout of `interop` a parameter has; None for vectors."""
    if array.ndim == 1:
        return None
    kinds = {nn.Conv2d: "conv", nn.ConvTranspose2d: "conv_transpose", nn.Linear: "linear"}
    return kinds[type(owner)]


def weights_of(model):
    """name → (a torch tensor that requires grad, the layout)"""
    owners, found = dict(model.named_modules()), {}
    for name, parameter in model.named_parameters():
        kind = kind_of(owners[name.rpartition(".")[0]], parameter)
        array = to_numpy(parameter.data)
        array = interop.to_torch(array, kind) if kind else array.copy()
        found[name] = torch.tensor(array, requires_grad=True), kind
    return found


def residual_in_torch(w, name, x):
    def norm_silu(h, norm):
        weight, bias = w[f"{name}.{norm}.weight"][0], w[f"{name}.{norm}.bias"][0]
        return F.silu(F.group_norm(h, 4, weight, bias))

    h = conv_in_torch(w, f"{name}.conv1", norm_silu(x, "norm1"))
    h = conv_in_torch(w, f"{name}.conv2", norm_silu(h, "norm2"))
    return h + (conv_in_torch(w, f"{name}.shortcut", x) if f"{name}.shortcut.weight" in w else x)


def conv_in_torch(w, name, x, **settings):
    weight, bias = w[f"{name}.weight"][0], w[f"{name}.bias"][0]
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, **settings)


def encoder_decoder_in_torch(w, x, blocks, up, skips):
    h, seen, switches = conv_in_torch(w, "stem", x), [], []
    for level, count in enumerate(blocks):
        if level:
            h, where = F.max_pool2d(seen[-1], 2, return_indices=True)
            switches.append(where)
        h = conv_in_torch(w, f"down.{level}.0", h)
        for k in range(count):
            h = residual_in_torch(w, f"down.{level}.{1 + k}", h)
        seen.append(h)
    seen.pop()
    for level in range(len(blocks) - 1):
        if up == "unpool":
            h = F.max_unpool2d(conv_in_torch(w, f"up.{level}", h), switches.pop(), 2)
        else:
            weight, bias = w[f"up.{level}.weight"][0], w[f"up.{level}.bias"][0]
            h = F.conv_transpose2d(h, weight, bias, stride=2)
        before = seen.pop()
        h = residual_in_torch(w, f"merge.{level}", torch.cat([h, before], 1) if skips else h)
    h = F.silu(F.group_norm(h, 4, w["norm.weight"][0], w["norm.bias"][0]))
    return F.linear(h.movedim(1, -1), w["head.weight"][0], w["head.bias"][0])


@pytest.mark.parametrize("up", ["transpose", "unpool"])
@pytest.mark.parametrize("skips", [True, False])
def test_encoder_decoder(up, skips, rng):
    blocks = (1, 0, 2)
    settings = {"widths": (8, 12, 16), "blocks": blocks, "up": up, "skips": skips, "patch": 1}
    model = EncoderDecoder(3, CLASSES, **settings, norm_groups=4).astype(np.float64)
    for parameter in model.parameters():
        parameter.data[...] = asarray(0.3 * rng.standard_normal(parameter.shape))
    w = weights_of(model)
    x, masks = rng.standard_normal((2, 8, 12, 3)), rng.integers(0, CLASSES, (2, 8, 12))
    mine = td.Tensor(asarray(x), requires_grad=True)
    theirs = torch.tensor(interop.to_torch(x, "image"), requires_grad=True)
    y, z = model(mine), encoder_decoder_in_torch(w, theirs, blocks, up, skips)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), atol=1e-10)
    loss, other = (
        ops.cross_entropy(y, masks),
        F.cross_entropy(z.movedim(-1, 1), torch.tensor(masks)),
    )
    assert loss.item() == pytest.approx(other.item(), rel=1e-12)
    loss.backward()
    other.backward()
    expected = interop.from_torch(theirs.grad.numpy(), "image")
    np.testing.assert_allclose(to_numpy(mine.grad), expected, atol=1e-10)
    for name, parameter in model.named_parameters():
        gradient, kind = w[name][0].grad.numpy(), w[name][1]
        expected = interop.from_torch(gradient, kind) if kind else gradient
        np.testing.assert_allclose(to_numpy(parameter.grad), expected, atol=1e-10, err_msg=name)


def test_multiply_adds(rng):
    """Half of what PyTorch counts as floating-point operations while it computes the same."""
    flop_counter = pytest.importorskip("torch.utils.flop_counter")
    blocks = (1, 0, 2)
    model = EncoderDecoder(3, CLASSES, widths=(8, 12, 16), blocks=blocks, patch=1, norm_groups=4)
    x = rng.standard_normal((2, 8, 12, 3)).astype(np.float32)
    counter = flop_counter.FlopCounterMode(display=False)
    with counter:
        other = torch.tensor(interop.to_torch(x, "image"))
        encoder_decoder_in_torch(weights_of(model), other, blocks, "transpose", True)
    assert nn.multiply_adds(model, asarray(x)) == counter.get_total_flops() // 2


def test_sliding_window_at_a_stride(rng):
    """Windows one by one, with strides, in PyTorch; all at once, with dilations, here."""
    model = SlidingWindow(3, CLASSES, widths=(4,) * 7).astype(np.float64)
    for parameter in model.parameters():
        parameter.data[...] = asarray(0.5 * rng.standard_normal(parameter.shape))
    w, x = weights_of(model), rng.standard_normal((1, 4, 5, 3))
    before = model.width // 2
    padded = F.pad(torch.tensor(interop.to_torch(x, "image")), (before,) * 4)
    windows = padded.unfold(2, 45, 1).unfold(3, 45, 1).movedim(1, 3).reshape(20, 3, 45, 45)
    h = windows
    for k, stride in enumerate((1, 2, 1, 2, 1, 2, 1)):
        conv, norm = f"window.{3 * k}", f"window.{3 * k + 1}"
        h = F.conv2d(h, w[f"{conv}.weight"][0], w[f"{conv}.bias"][0], stride=stride)
        h = h.movedim(1, -1)
        h = F.layer_norm(h, h.shape[-1:], w[f"{norm}.weight"][0], w[f"{norm}.bias"][0])
        h = F.silu(h).movedim(-1, 1)
    y = F.linear(h.movedim(1, -1), w["window.21.weight"][0], w["window.21.bias"][0])
    expected = y.detach().numpy().reshape(1, 4, 5, CLASSES)
    np.testing.assert_allclose(model(asarray(x)).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("present", [range(CLASSES), (0, 2, 3)])
def test_mean_iou(present, rng):
    """torchmetrics gives 0 to a class that is nowhere, and leaves it out of the mean, as we do."""
    classification = pytest.importorskip("torchmetrics.classification")
    true, found = (rng.choice(list(present), (6, 9, 7)) for _ in range(2))
    confusion = 0
    metrics = [
        classification.MulticlassJaccardIndex(CLASSES, average=average)
        for average in ("none", "macro")
    ]
    for t, f in zip(np.split(true, 3), np.split(found, 3), strict=True):  # in three batches
        confusion = confusion + confusion_matrix(f, t, CLASSES)
        for metric in metrics:
            metric.update(torch.tensor(f), torch.tensor(t))
    each, mean = (metric.compute().numpy() for metric in metrics)
    np.testing.assert_allclose(np.nan_to_num(class_iou(confusion)), each, rtol=1e-6)
    assert mean_iou(found, true, CLASSES) == pytest.approx(float(mean), rel=1e-6)
