"""A small convolutional classifier: enough for digits, fast on a CPU.

Each stage halves the image and looks twice; the mean over the last pixels is what the picture is
about, and a linear layer reads the class from it.  Group norm needs no running statistics, so the
network does the same in training and evaluation, dropout apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import xp
from tinydiff.models.embedding import sinusoidal_embedding
from tinydiff.tensor import Tensor


class Classifier(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, num_classes)

    widths   channels of the stages; the first keeps the resolution, every other halves it
    """

    independent_images = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        norm_groups: int = 8,
        dropout: float = 0.2,
    ):
        super().__init__()

        def block(channels: int, width: int, stride: int) -> list[nn.Module]:
            conv = nn.Conv2d(channels, width, 3, stride=stride, padding=1)
            return [conv, nn.GroupNorm(norm_groups, width, silu=True)]

        first, *later = widths
        layers = block(in_channels, first, 1)
        channels = first
        for width in later:
            layers += block(channels, width, 2) + block(width, width, 1)
            channels = width
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)
        self.in_channels, self.num_classes = in_channels, num_classes

    def forward(self, x) -> Tensor:
        return self.head(self.dropout(self.features(x)))

    def features(self, x) -> Tensor:
        """What the last layer reads the class from: (N, widths[-1])"""
        x = x if isinstance(x, Tensor) else Tensor(x)
        if x.ndim != 4 or x.shape[3] != self.in_channels:
            raise ValueError(
                f"Classifier: x has shape {x.shape}, expected (N, H, W, {self.in_channels})"
            )
        return ops.global_avg_pool2d(self.body(x))


class NoisyClassifier(nn.Module):
    """A classifier of noisy pictures, told the step: (x_t (N, H, W, in_channels), t (N,)) → logits

    The waves of t's embedding are laid over x as channels more, the same for every pixel.  Without
    t it takes the pictures for clean ones, step 0.  ``settings`` are those of `Classifier`.
    """

    independent_images = True
    waves = 8

    def __init__(self, in_channels: int, num_classes: int, **settings):
        super().__init__()
        self.classifier = Classifier(in_channels + self.waves, num_classes, **settings)
        self.num_classes = num_classes

    def forward(self, x, t=None) -> Tensor:
        x = x if isinstance(x, Tensor) else Tensor(x)
        if t is None:
            t = np.zeros(len(x), np.int64)
        if xp.shape(t) != x.shape[:1]:
            raise ValueError(
                f"NoisyClassifier: t has shape {xp.shape(t)}, expected one per image ({len(x)},)"
            )
        waves = sinusoidal_embedding(t, self.waves).astype(x.dtype).reshape(-1, 1, 1, self.waves)
        return self.classifier(ops.concat([x, xp.broadcast_to(waves, (*x.shape[:3], self.waves))]))
