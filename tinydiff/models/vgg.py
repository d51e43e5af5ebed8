"""A plain stack of convolutions, in the manner of VGG: simple enough to look inside.

    stage:  conv 3×3 → ReLU → conv 3×3 → ReLU → the largest of each 2×2 pixels
    stages → mean over all pixels → a linear layer to the classes

Nothing but convolutions, ReLU and max-pooling lies between picture and features: what the methods
of deconvnet and guided backpropagation know how to undo.  Every layer is a module with a name,
``stages.1.conv2`` or ``stages.0.pool``.  Without norms the size of the signal must be kept by the
weights: each begins as N(0, 2/fan_in), which makes up for the half that ReLU takes away.

Sources: K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", 2015, table 1 (with large linear layers, where here the mean is taken); K. He et al.,
"Delving Deep into Rectifiers", 2015, section 2.2 (the weights).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinydiff import nn
from tinydiff.models.classifier import ImageClassifier
from tinydiff.nn import init
from tinydiff.tensor import Tensor


class VGG(ImageClassifier):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, num_classes)

    widths   channels of the stages; each halves the resolution, odd sides rounded down, so H and W
             are at least 2^len(widths)
    dropout  share of the features that are not seen in a step of training
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        dropout: float = 0.2,
    ):
        if not widths:
            raise ValueError("VGG: widths are empty, expected the channels of one stage or more")
        ends = zip((in_channels, *widths), widths, strict=False)
        self.stages = nn.Sequential(*(Stage(before, width) for before, width in ends))
        self.least = 2 ** len(widths)
        super().__init__(in_channels, widths[-1], num_classes, dropout)

    def maps(self, x: Tensor) -> Tensor:
        return self.stages(x)


class Stage(nn.Module):
    """(N, H, W, in_channels) → (N, ⌊H/2⌋, ⌊W/2⌋, width)"""

    def __init__(self, in_channels: int, width: int):
        self.conv1 = _conv(in_channels, width)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(width, width)
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)

    def maps(self, x: Tensor) -> Tensor:
        """What it sees at full resolution: (N, H, W, width)"""
        return self._seen(x)

    def forward(self, x: Tensor) -> Tensor:
        return self._seen(x, self.pool)

    def _seen(self, x: Tensor, pool: nn.MaxPool2d | None = None) -> Tensor:
        x = nn.rectified(self.conv1, self.relu1, x)
        return nn.rectified(self.conv2, self.relu2, x, pool)


def _conv(in_channels: int, width: int) -> nn.Conv2d:
    """3×3, with He's weights, and a bias of zero"""
    conv = nn.Conv2d(in_channels, width, 3, padding=1)
    conv.weight = init.normal(conv.weight.shape, math.sqrt(2 / (9 * in_channels)))
    conv.bias = init.zeros((width,))
    return conv
