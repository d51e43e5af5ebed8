"""Classifiers of pictures: what they share, and a small plain one, enough for digits.

A body of convolutions makes maps of the picture; the mean over their pixels is what the picture is
about, its features, and a linear layer reads the class from them.  Such a network knows no size of
pictures.  Bodies: `Classifier` here, `models.ResNet`, `models.VGG`, `models.Strided`.

Source: M. Lin et al., "Network In Network", 2014, section 3.2 (the mean over all pixels in place
of large linear layers).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import xp
from tinydiff.models.embedding import sinusoidal_embedding
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class ImageClassifier(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, num_classes)

    A subclass makes its body, then calls ``__init__``, and has a method ``maps``, from x to
    (N, H', W', width).  ``least`` is the smallest side of a picture that has one pixel there.
    """

    independent_images = True
    least = 1

    def __init__(self, in_channels: int, width: int, num_classes: int, dropout: float):
        at_least_one(type(self).__name__, in_channels=in_channels, num_classes=num_classes)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes)
        self.in_channels, self.num_classes = in_channels, num_classes

    def maps(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define maps")

    def forward(self, x) -> Tensor:
        return self.head(self.dropout(self.features(x)))

    def features(self, x) -> Tensor:
        """What the last layer reads the class from: (N, width)"""
        x = x if isinstance(x, Tensor) else Tensor(x)
        if x.ndim != 4 or x.shape[3] != self.in_channels or min(x.shape[1:3]) < self.least:
            sides = f" with H and W ≥ {self.least}" if self.least > 1 else ""
            raise ValueError(
                f"{type(self).__name__}: x has shape {x.shape}, "
                f"expected (N, H, W, {self.in_channels}){sides}"
            )
        return ops.global_avg_pool2d(self.maps(x))


class Classifier(ImageClassifier):
    """The plain one: each stage halves the picture and looks twice, convolution, norm, SiLU.

    widths   channels of the stages; the first keeps the resolution, every other halves it

    Group norm needs no running statistics, so the network does the same in training and
    evaluation, dropout apart.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        norm_groups: int = 8,
        dropout: float = 0.2,
    ):
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
        super().__init__(in_channels, channels, num_classes, dropout)

    def maps(self, x: Tensor) -> Tensor:
        return self.body(x)


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
