"""A mask for each box: a small network that looks at what the box shows, brought to one size.

    crops of the picture and of the detector's first features → linear → residual blocks at 14 × 14
    → transposed convolution to 28 × 28 → linear: a number a pixel, the logit of "the box's object"

The picture is cut out as finely as the answer is wanted, and 2 × 2 pixels become channels.  The
mask is the same whatever the class, which costs little (section 4.2 of the source).

Source: K. He et al., "Mask R-CNN", 2017, section 3 and figure 4; theirs is four times as wide, and
takes its features from a pyramid that was made for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinydiff import nn, ops
from tinydiff.models.blocks import ResidualBlock
from tinydiff.models.detector import Detector
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class MaskHead(nn.Module):
    """Called as head(crops): (K, h, w, in_channels) → logits (K, 2h, 2w)

    width    channels within
    blocks   residual blocks
    """

    independent_images = True

    def __init__(self, in_channels: int, *, width: int = 64, blocks: int = 2, norm_groups: int = 8):
        super().__init__()
        at_least_one("MaskHead", in_channels=in_channels, width=width, norm_groups=norm_groups)
        if blocks < 0 or width % norm_groups:
            raise ValueError(
                f"MaskHead: expected blocks ≥ 0, and norm_groups that divide the width, "
                f"got blocks={blocks}, norm_groups={norm_groups}, width={width}"
            )
        self.lateral = nn.Linear(in_channels, width)
        self.body = nn.Sequential(
            *(ResidualBlock(width, width, groups=norm_groups) for _ in range(blocks))
        )
        self.norm = nn.GroupNorm(norm_groups, width, silu=True)
        self.up = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.last = nn.Linear(width, 1)

    def forward(self, crops) -> Tensor:
        h = self.up(self.norm(self.body(self.lateral(crops))))
        return self.last(ops.silu(h)).reshape(*h.shape[:3])


class MaskDetector(nn.Module):
    """A `Detector`, and a `MaskHead` on what it knows and on the picture.

    Called as model(x, boxes) → logits (ΣK, 2·size, 2·size), box after box

    x      (N, H, W, in_channels), as for the detector
    boxes  for each picture corners (K, 4) in its pixels, on the host; K may be 0
    """

    size = 14  # rows and columns of the crops

    def __init__(self, detector: Detector, **head):
        super().__init__()
        self.detector = detector
        self.head = MaskHead(4 * detector.in_channels + detector.widths[0], **head)

    def forward(self, x, boxes: Sequence[np.ndarray]) -> Tensor:
        if len(boxes) and not any(map(len, boxes)):  # a mask nobody sees: a gradient of zero
            return self(x, [np.zeros((1, 4)), *boxes[1:]])[:0]
        picture = ops.pixel_unshuffle(ops.roi_align(x, boxes=boxes, size=2 * self.size), factor=2)
        boxes = [b / self.detector.patch for b in boxes]
        features = ops.roi_align(self.detector.features(x), boxes=boxes, size=self.size)
        return self.head(ops.concat([picture, features]))
