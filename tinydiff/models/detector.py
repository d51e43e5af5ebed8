"""A small YOLO network: convolutions only, from a picture to what is in each cell of a grid.

    patch × patch pixels → channels; then at each resolution a few residual blocks; between them a
    convolution of stride 2; at the end, in every cell, a linear layer to A·(5 + C) numbers

It has no layer that knows the size of the picture: the same weights look at larger ones, with more
cells.  What the numbers mean is said by `tinydiff.vision.YoloGrid`.

Sources: J. Redmon and A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2017, section 2, and
"YOLOv3: An Incremental Improvement", 2018, section 2.4 (residual blocks); theirs are larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from tinydiff import nn, ops
from tinydiff.models.blocks import ResidualBlock, zero_init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class Detector(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → (N, H/stride, W/stride, channels)

    channels  numbers in each cell, `YoloGrid.channels`
    widths    channels at each resolution; the next has half the pixels on a side
    blocks    residual blocks at each resolution
    patch     so many pixels, on a side, become one at the first resolution

    ``stride`` is patch·2^(resolutions − 1), pixels on a side of a cell.
    """

    independent_images = True

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 2, 3),
        patch: int = 4,
        norm_groups: int = 8,
    ):
        super().__init__()
        at_least_one("Detector", in_channels=in_channels, channels=channels, patch=patch)
        at_least_one("Detector", norm_groups=norm_groups)
        if not widths or len(widths) != len(blocks) or min(blocks) < 0:
            raise ValueError(
                f"Detector: widths {tuple(widths)}, blocks {tuple(blocks)}: "
                "expected one number of blocks ≥ 0 for each width"
            )
        if any(width < 1 or width % norm_groups for width in widths):
            raise ValueError(
                f"Detector: norm_groups={norm_groups} does not divide the widths {tuple(widths)}"
            )
        self.in_channels, self.patch, self.widths = in_channels, patch, tuple(widths)
        self.stride = patch * 2 ** (len(widths) - 1)
        layers: list[nn.Module] = []
        before, step = in_channels * patch**2, 1
        for width, count in zip(widths, blocks, strict=True):
            layers.append(nn.Conv2d(before, width, 3, stride=step, padding=1))
            layers += [ResidualBlock(width, width, groups=norm_groups) for _ in range(count)]
            before, step = width, 2
        self.body = nn.Sequential(*layers)
        self.first = 1 + blocks[0]  # layers at the first resolution
        self.norm = nn.GroupNorm(norm_groups, before, silu=True)
        self.head = zero_init(nn.Linear(before, channels))

    def forward(self, x) -> Tensor:
        return self.head(self.norm(self.body(self._patches(x))))

    def features(self, x) -> Tensor:
        """What is known at the first resolution: (N, H/patch, W/patch, widths[0])

        x as for the model; raises ValueError for another shape.
        """
        h = self._patches(x)
        for layer in islice(self.body, self.first):
            h = layer(h)
        return h

    def _patches(self, x) -> Tensor:
        x = x if isinstance(x, Tensor) else Tensor(x)
        if (
            x.ndim != 4
            or x.shape[3] != self.in_channels
            or x.shape[1] % self.stride
            or (x.shape[2] % self.stride)
        ):
            raise ValueError(
                f"Detector: x has shape {x.shape}, expected (N, H, W, {self.in_channels}) "
                f"with H and W divisible by {self.stride}"
            )
        return ops.pixel_unshuffle(x, factor=self.patch)
