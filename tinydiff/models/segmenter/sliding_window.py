"""The first design: a classifier looks at the window around each pixel, and names its centre.

    "same weights":  stride s, one window at a time  =  dilation s, all windows at once

Neighbouring windows share nearly all of their pixels, and their layers compute the same numbers
again and again.  Where a layer of a window steps s pixels further, the windows of all pixels
together need its answer at every pixel; what follows then finds the entries that were neighbours
in a window s pixels apart.  No number changes if nothing in the network knows more than its own
window: no padding within, and a norm over the channels of each pixel.

Sources: D. Cireşan et al., "Deep Neural Networks Segment Neuronal Membranes in Electron Microscopy
Images", 2012 (a window for each pixel); A. Giusti et al., "Fast Image Scanning with Deep
Max-Pooling Convolutional Neural Networks", 2013, and J. Long et al., "Fully Convolutional
Networks", 2015, section 3.2 (all at once).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from tinydiff import backend, nn, ops
from tinydiff.models.blocks import zero_init
from tinydiff.models.checks import pictures
from tinydiff.models.segmenter.checks import check_sizes
from tinydiff.tensor import Tensor

STRIDES = (1, 2, 1, 2, 1, 2)  # of the 3 × 3 convolutions, before the last


class SlidingWindow(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, H, W, num_classes)

    widths   channels of the convolutions: one for each of STRIDES, and for the last, which sees
             all that is left of a window

    ``model.window`` classifies windows, ``model.width`` (45) pixels on a side: (M, width, width,
    in_channels) → (M, 1, 1, num_classes).  Beyond the border of a picture, windows see zeros.
    """

    stride = 1

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        widths: Sequence[int] = (16, 32, 32, 64, 64, 128, 128),
    ):
        super().__init__()
        self.in_channels = in_channels
        check_sizes(self, num_classes, 1, widths)
        if len(widths) != len(STRIDES) + 1:
            raise ValueError(f"SlidingWindow: expected {len(STRIDES) + 1} widths, got {widths}")
        layers: list[nn.Module] = []
        before, self.width, step = in_channels, 1, 1
        for width, stride in zip(widths, (*STRIDES, 1), strict=True):
            layers += [nn.Conv2d(before, width, 3, stride), nn.LayerNorm(width), nn.SiLU()]
            self.width += 2 * step
            before, step = width, step * stride
        self.window = _Independent(*layers, zero_init(nn.Linear(before, num_classes)))
        self.everywhere = _Independent(*_without_strides(self.window))

    def forward(self, x) -> Tensor:
        """All windows at once."""
        return self.everywhere(self._padded(pictures(self, x)))

    def one_by_one(self, x, batch: int = 256) -> Tensor:
        """What `forward` returns, the lecture's way: each pixel's window by itself."""
        n, height, width, _ = pictures(self, x).shape
        places = np.indices((n, height, width)).reshape(3, -1)
        parts = [
            self.window(self.windows(x, *places[:, start : start + batch]))
            for start in range(0, places.shape[1], batch)
        ]
        return ops.concat(parts, axis=0).reshape(n, height, width, -1)

    def at_random(
        self, x, masks: np.ndarray, count: int, *, rng: np.random.Generator | None = None
    ) -> tuple[Tensor, np.ndarray]:
        """To learn from: logits (count, 1, 1, num_classes) of windows somewhere in the pictures x,
        and what masks (N, H, W) say of the pixels in their middle, (count, 1, 1)."""
        rng = backend.rng if rng is None else rng
        n, height, width = masks.shape
        image, row, column = (rng.integers(length, size=count) for length in (n, height, width))
        labels = masks[image, row, column].reshape(-1, 1, 1)
        return self.window(self.windows(x, image, row, column)), labels

    def windows(self, x, image: np.ndarray, row: np.ndarray, column: np.ndarray) -> Tensor:
        """The windows around M pixels, image[m], row[m], column[m]: (M, width, width, C)"""
        rows = row[:, None, None] + np.arange(self.width)[:, None]
        columns = column[:, None, None] + np.arange(self.width)
        return self._padded(pictures(self, x))[image[:, None, None], rows, columns]

    def _padded(self, x: Tensor) -> Tensor:
        before = self.width // 2
        sides = (before, self.width - 1 - before)
        return ops.pad(x, ((0, 0), sides, sides, (0, 0)))


class _Independent(nn.Sequential):
    independent_images = True


def _without_strides(layers: nn.Sequential) -> list[nn.Module]:
    """Copies that have the same Parameters, not copies of them; strides have become dilations."""
    twins, step = [], 1
    for layer in layers:
        twin = copy.copy(layer)
        if isinstance(layer, nn.Conv2d):
            twin.stride, twin.dilation = 1, step
            step *= layer.stride
        twins.append(twin)
    return twins
