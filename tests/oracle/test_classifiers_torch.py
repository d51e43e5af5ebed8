"""ResNet, VGG and Strided against the same networks written in PyTorch, with copied weights.

Logits, features, and the gradients of every parameter and of the picture must agree.
"""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, interop, models
from tinydiff.backend import asarray, to_numpy

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.oracle


class Block(nn.Module):
    """Norm and activation first: He et al. 2016b, figure 1(b), with group norm and SiLU"""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class TorchResNet(nn.Module):
    def __init__(self, channels, classes, widths, blocks):
        super().__init__()
        layers, before, stride = [], channels, 1
        for width, count in zip(widths, blocks, strict=True):
            layers.append(nn.Conv2d(before, width, 3, stride=stride, padding=1))
            layers += [Block(width) for _ in range(count)]
            before, stride = width, 2
        self.stages = nn.Sequential(*layers)
        self.norm, self.head = nn.GroupNorm(8, before), nn.Linear(before, classes)

    def features(self, x):
        return F.silu(self.norm(self.stages(x))).mean(dim=(2, 3))


class Stage(nn.Module):
    def __init__(self, before, width):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)


class TorchVGG(nn.Module):
    def __init__(self, channels, classes, widths):
        super().__init__()
        ends = zip((channels, *widths), widths, strict=False)
        self.stages = nn.Sequential(*(Stage(a, b) for a, b in ends))
        self.head = nn.Linear(widths[-1], classes)

    def features(self, x):
        return self.stages(x).mean(dim=(2, 3))


class TorchStrided(nn.Module):
    """E. Wong's network for MNIST, but that its first linear layer is a convolution"""

    def __init__(self, channels, classes, widths, hidden, last):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(*widths, 4, stride=2, padding=1)
        self.conv3 = nn.Conv2d(widths[1], hidden, last)
        self.head = nn.Linear(hidden, classes)

    def features(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x))
        return x.mean(dim=(2, 3))


CASES = {
    "resnet": (models.ResNet, TorchResNet, {"widths": (8, 16, 24), "blocks": (1, 0, 2)}),
    "vgg": (models.VGG, TorchVGG, {"widths": (6, 10)}),
    "strided": (models.Strided, TorchStrided, {"widths": (6, 10), "hidden": 9, "last": 2}),
}


def in_torch(name, array):
    array = to_numpy(array)
    kind = {4: "conv", 2: "linear"}.get(array.ndim)
    return torch.tensor(interop.to_torch(array, kind) if kind else array.copy())


@pytest.mark.parametrize("size", [(28, 28), (29, 31), (8, 13)])
@pytest.mark.parametrize("ours, theirs, settings", CASES.values(), ids=CASES)
def test_the_same_network(ours, theirs, settings, size, rng):
    td.seed(0)
    mine = ours(3, 7, **settings).astype(np.float64).eval()
    for _, p in mine.named_parameters():  # nothing may stay at one or zero
        p.data[...] = p.data + asarray(0.1 * rng.standard_normal(p.shape))
    other = theirs(3, 7, **settings).double()
    other.load_state_dict({k: in_torch(k, v) for k, v in mine.state_dict().items()})
    x = rng.standard_normal((3, *size, 3))
    weights = rng.standard_normal((3, 7))

    picture = Tensor(asarray(x), requires_grad=True)
    y = mine(picture)
    (y * Tensor(asarray(weights))).sum().backward()
    their_picture = torch.tensor(interop.to_torch(x, "image"), requires_grad=True)
    features = other.features(their_picture)
    their_y = other.head(features)
    (their_y * torch.tensor(weights)).sum().backward()

    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    close(mine.features(picture).numpy(), features.detach().numpy())
    close(y.numpy(), their_y.detach().numpy())
    close(to_numpy(picture.grad), interop.from_torch(their_picture.grad.numpy(), "image"))
    their_grads = {name: p.grad.numpy() for name, p in other.named_parameters()}
    for name, p in mine.named_parameters():
        grad = their_grads.pop(name)
        kind = {4: "conv", 2: "linear"}.get(grad.ndim)
        close(to_numpy(p.grad), interop.from_torch(grad, kind) if kind else grad)
    assert not their_grads
