"""A residual network that says what a picture shows.

    stage of residual blocks → half the resolution → stage → …
    → norm → mean over all pixels → a linear layer to the classes

A block adds to what is there instead of replacing it, so a deep network begins as a shallow one:
its gradient reaches every layer through the sums.  The blocks are those of the U-Net
(`models.blocks.ResidualBlock`): norm and activation stand before each convolution, so that nothing
stands between the sums.  The norm is group norm, which looks at one picture at a time, where
batch norm would make the answer for a picture depend on the others beside it.

Sources: K. He et al., "Deep Residual Learning for Image Recognition", 2016, and "Identity Mappings
in Deep Residual Networks", 2016, section 4 (norm and activation first); Y. Wu and K. He, "Group
Normalization", 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinydiff import nn
from tinydiff.models.blocks import residual_stages
from tinydiff.models.classifier import ImageClassifier
from tinydiff.tensor import Tensor


class ResNet(ImageClassifier):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, num_classes), H and W any

    widths   channels of the stages; each after the first has half the pixels on a side
    blocks   residual blocks in each stage
    dropout  share of the features that are not seen in a step of training
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (0, 1, 1),
        norm_groups: int = 8,
        dropout: float = 0.2,
    ):
        self.stages = residual_stages("ResNet", in_channels, widths, blocks, groups=norm_groups)
        self.norm = nn.GroupNorm(norm_groups, widths[-1], silu=True)
        super().__init__(in_channels, widths[-1], num_classes, dropout)

    def maps(self, x: Tensor) -> Tensor:
        return self.norm(self.stages(x))
