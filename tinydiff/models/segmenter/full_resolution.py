"""The second design: convolutions at full resolution, all pixels at once.

    3 → width channels, blocks of two convolutions, width → classes; no pixel is ever left out

Each convolution lets a pixel see one pixel further: with B blocks (2 + 4B) + 1 on a side.  To see
far it must be deep, and every layer costs H·W·9·width² multiply-adds.

Source: J. Long, E. Shelhamer and T. Darrell, "Fully Convolutional Networks for Semantic
Segmentation", 2015, section 3 (theirs go down and up again: `EncoderDecoder`).
"""

from __future__ import annotations

from tinydiff import nn
from tinydiff.models.blocks import ResidualBlock, zero_init
from tinydiff.models.checks import pictures
from tinydiff.models.segmenter.checks import check_sizes
from tinydiff.tensor import Tensor


class FullResolution(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, H, W, num_classes)"""

    independent_images = True
    stride = 1

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 32,
        blocks: int = 7,
        norm_groups: int = 8,
    ):
        super().__init__()
        self.in_channels = in_channels
        check_sizes(self, num_classes, norm_groups, (width,))
        if blocks < 0:
            raise ValueError(f"FullResolution: blocks is {blocks}, expected an int ≥ 0")
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.body = nn.Sequential(
            *[ResidualBlock(width, width, groups=norm_groups) for _ in range(blocks)]
        )
        self.norm = nn.GroupNorm(norm_groups, width, silu=True)
        self.head = zero_init(nn.Linear(width, num_classes))

    def forward(self, x) -> Tensor:
        return self.head(self.norm(self.body(self.stem(pictures(self, x)))))
