"""A small YOLO network: convolutions only, from a picture to what is in each cell of a grid.

    a `Backbone`, and on it, in every cell, a linear layer to A·(5 + C) numbers

It has no layer that knows the size of the picture: the same weights look at larger ones, with more
cells.  What the numbers mean is said by `tinydiff.vision.YoloGrid`.

Source: J. Redmon and A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2017, section 2; theirs is
larger.
"""

from __future__ import annotations

from tinydiff import nn
from tinydiff.models.backbone import Backbone
from tinydiff.models.blocks import zero_init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class Detector(Backbone):
    """Called as model(x): x (N, H, W, in_channels) → (N, H/stride, W/stride, channels)

    channels  numbers in each cell, `YoloGrid.channels`
    settings  those of the `Backbone`, whose ``stride`` is the pixels on a side of a cell
    """

    def __init__(self, in_channels: int, channels: int, **settings):
        super().__init__(in_channels, **settings)
        at_least_one("Detector", channels=channels)
        self.head = zero_init(nn.Linear(self.out_channels, channels))

    def forward(self, x) -> Tensor:
        return self.head(super().forward(x))
