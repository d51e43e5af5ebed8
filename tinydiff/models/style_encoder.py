"""What each region of a picture looks like, in a few numbers: the style that SPADE is to be told.

    picture → (conv 3×3 → lrelu) × 2 = f,    s_r = mean of f over region r
    mean and log-variance of q(z_r | picture) = linear(s_r)

where region r is nowhere, q is N(0, I): nothing is known of it.

Sources: P. Zhu et al., "SEAN: Image Synthesis with Semantic Region-Adaptive Normalization", 2020,
section 3.2 (means over regions); T. Park et al., "Semantic Image Synthesis with
Spatially-Adaptive Normalization", 2019, section 3 (an encoder, to learn what there is to choose).
"""

from __future__ import annotations

from tinydiff import nn, ops
from tinydiff.backend import xp
from tinydiff.models.checks import pictures
from tinydiff.models.semantic_map import check_maps, one_hot
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor

SLOPE = 0.2


class StyleEncoder(nn.Module):
    """Called as model(x, regions): x (N, H, W, in_channels) in [−1, 1], and the region of each of
    its pixels (N, H, W), 0 … count − 1 → moments (N, count, 2·latent) for a `DiagonalGaussian`

    width  channels of f
    patch  patch × patch pixels are seen as the channels of one place; it divides H and W
    """

    independent_images = True

    def __init__(
        self, in_channels: int, count: int, *, latent: int = 4, width: int = 32, patch: int = 1
    ):
        sizes = {"in_channels": in_channels, "count": count, "latent": latent, "width": width}
        at_least_one("StyleEncoder", **sizes, patch=patch)
        self.in_channels, self.count, self.stride = in_channels, count, patch
        self.conv1 = nn.Conv2d(in_channels * patch**2, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Linear(width, 2 * latent)

    def forward(self, x, regions) -> Tensor:
        x = pictures(self, x)
        check_maps("StyleEncoder: regions", regions, x.shape[:3], self.count - 1)
        where = Tensor(one_hot(regions, self.count, x.dtype))
        if self.stride > 1:
            where = ops.avg_pool2d(where, kernel=self.stride)
            x = ops.pixel_unshuffle(x, factor=self.stride)
        f = ops.leaky_relu(self.conv2(ops.leaky_relu(self.conv1(x), slope=SLOPE)), slope=SLOPE)
        n, c = len(x), f.shape[3]
        where = where.data.reshape(n, -1, self.count).transpose(0, 2, 1)  # (N, count, places)
        area = where.sum(axis=2, keepdims=True)
        mean = ops.matmul(Tensor(where / xp.maximum(area, 1e-6)), f.reshape(n, -1, c))
        return self.head(mean) * (area > 0)
