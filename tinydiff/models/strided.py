"""A cheap network for small pictures: two strided convolutions, then one that sees all at once.

    conv 4×4, stride 2 → ReLU → conv 4×4, stride 2 → ReLU → conv 7×7, no padding → ReLU
    → mean over what places are left → a linear layer to the classes

Of 28×28 pixels the maps have 7×7 places, so that the last convolution has one: it is a linear layer
of them all.  A larger picture has more, and the mean is over them.  A step of training takes so
little that a network can learn from attacks, each of which takes many.

Source: E. Wong, L. Rice, J. Z. Kolter, "Fast is better than free: revisiting adversarial training",
ICLR 2020, the network for MNIST (of widths 16 and 32, 100 hidden).
"""

from __future__ import annotations

from collections.abc import Sequence

from tinydiff import nn
from tinydiff.models.classifier import ImageClassifier
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class Strided(ImageClassifier):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, num_classes)

    widths   channels of the two convolutions with a stride; each halves the resolution
    hidden   channels of the one that sees all at once: the features
    last     its side; H and W are at least 4·last
    dropout  share of the features that are not seen in a step of training
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        widths: Sequence[int] = (32, 64),
        hidden: int = 256,
        last: int = 7,
        dropout: float = 0.0,
    ):
        if len(widths) != 2:
            raise ValueError(f"Strided: widths are {tuple(widths)}, expected two")
        at_least_one("Strided", last=last)
        first, second = widths
        self.conv1 = nn.Conv2d(in_channels, first, 4, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(first, second, 4, stride=2, padding=1)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(second, hidden, last)
        self.relu3 = nn.ReLU()
        self.least = 4 * last
        super().__init__(in_channels, hidden, num_classes, dropout)

    def maps(self, x: Tensor) -> Tensor:
        x = nn.rectified(self.conv1, self.relu1, x)
        x = nn.rectified(self.conv2, self.relu2, x)
        return nn.rectified(self.conv3, self.relu3, x)
