"""A backbone: what a picture is made of, place by place, for the heads that stand on it.

    patch × patch pixels → channels;  at each resolution a few residual blocks, between them a
    convolution of stride 2;  at the end group norm and SiLU

It has no layer that knows the size of the picture: larger ones have more places.  Where things are
is kept, by which of the places knows of them.  What one task has taught a backbone is of use to
another: `backbone_weights` finds it among the weights of any network that has one.

Sources: J. Redmon and A. Farhadi, "YOLOv3: An Incremental Improvement", 2018, section 2.4
(residual blocks); J. Yosinski et al., "How transferable are features in deep neural networks?",
2014 (transfer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from tinydiff import nn, ops
from tinydiff.models.blocks import residual_stages
from tinydiff.models.checks import pictures
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class Backbone(nn.Module):
    """Called as backbone(x): x (N, H, W, in_channels) → (N, H/stride, W/stride, widths[-1])

    widths  channels at each resolution; the next has half the pixels on a side
    blocks  residual blocks at each resolution
    patch   so many pixels, on a side, become one at the first resolution

    ``stride`` is patch·2^(resolutions − 1), pixels on a side of a place; H and W are multiples.
    """

    independent_images = True

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 2, 3),
        patch: int = 4,
        norm_groups: int = 8,
    ):
        super().__init__()
        owner = type(self).__name__
        at_least_one(owner, in_channels=in_channels, patch=patch)
        self.in_channels, self.patch, self.widths = in_channels, patch, tuple(widths)
        self.body = residual_stages(
            owner, in_channels * patch**2, widths, blocks, groups=norm_groups
        )
        self.first = 1 + blocks[0]  # layers at the first resolution
        self.norm = nn.GroupNorm(norm_groups, widths[-1], silu=True)
        self.stride, self.out_channels = patch * 2 ** (len(widths) - 1), widths[-1]

    def forward(self, x) -> Tensor:
        return self.norm(self.body(self._patches(x)))

    def features(self, x) -> Tensor:
        """What is known at the first resolution: (N, H/patch, W/patch, widths[0])

        x as for the backbone; raises ValueError for another shape.
        """
        h = self._patches(x)
        for layer in islice(self.body, self.first):
            h = layer(h)
        return h

    def _patches(self, x) -> Tensor:
        return ops.pixel_unshuffle(pictures(self, x), factor=self.patch)


def backbone_weights(weights: Mapping) -> dict:
    """Those of a backbone among a network's weights, named as in the state dict of a `Backbone`.

    The network is one, as a `Detector` is, or has one under the name ``backbone``.
    """
    own = {name.removeprefix("backbone."): weight for name, weight in weights.items()}
    return {name: w for name, w in own.items() if name.startswith(("body.", "norm."))}
