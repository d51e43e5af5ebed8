"""The third design: down to few pixels that know much, and up again to where it was seen.

    down   blocks, then the largest of 2×2 pixels: what there is, and less and less where
    up     transposed convolution: each pixel paints 2×2, as it has learned;
           or unpooling: each value goes back to the pixel that was the largest, its switch
    skip   what the encoder saw at this resolution, beside what comes from below

Half the resolution has a quarter of the pixels, so that wide and deep layers are cheap there.  The
dearest one, that of the picture, is left out: p × p pixels become channels of one at first, and one
says the classes of p × p at last.

Sources: H. Noh, S. Hong and B. Han, "Learning Deconvolution Network for Semantic Segmentation",
2015 (unpooling); O. Ronneberger, P. Fischer and T. Brox, "U-Net", 2015 (transposed, skips).
"""

from __future__ import annotations

from collections.abc import Sequence

from tinydiff import nn, ops
from tinydiff.models.blocks import ResidualBlock, zero_init
from tinydiff.models.checks import pictures
from tinydiff.models.segmenter.checks import check_sizes
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor

UPS = ("transpose", "unpool")


class EncoderDecoder(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, H, W, num_classes)

    widths  channels at each resolution; the next has half the pixels on a side
    blocks  residual blocks at each resolution on the way down; on the way up there is one
    up      "transpose" or "unpool"
    skips   whether the decoder sees what the encoder saw
    patch   so many pixels, on a side, become one at the first resolution, and again so many after
            the last

    H and W are multiples of ``stride``, patch·2^(resolutions − 1).
    """

    independent_images = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 2, 3),
        up: str = "transpose",
        skips: bool = True,
        patch: int = 2,
        norm_groups: int = 8,
    ):
        super().__init__()
        at_least_one("EncoderDecoder", patch=patch)
        self.in_channels, self.patch = in_channels, patch
        self.stride = patch * 2 ** (len(widths) - 1)
        check_sizes(self, num_classes, norm_groups, widths)
        if len(blocks) != len(widths) or min(blocks) < 0:
            raise ValueError(
                f"EncoderDecoder: widths {tuple(widths)}, blocks {tuple(blocks)}: "
                "expected one number of blocks ≥ 0 for each width"
            )
        if up not in UPS:
            raise ValueError(f"EncoderDecoder: up is {up!r}, expected one of {', '.join(UPS)}")
        self.skips, self.unpool = skips, up == "unpool"

        def block(before: int, width: int) -> nn.Module:
            return ResidualBlock(before, width, groups=norm_groups)

        self.stem = nn.Conv2d(in_channels * patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        before = widths[0]
        for width, count in zip(widths, blocks, strict=True):
            into = nn.Conv2d(before, width, 1)
            self.down.append(nn.Sequential(into, *[block(width, width) for _ in range(count)]))
            before = width
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        for width in reversed(widths[:-1]):
            unpooled = nn.Conv2d(before, width, 1)  # a switch for each channel
            painted = nn.ConvTranspose2d(before, width, 2, stride=2)
            self.up.append(unpooled if self.unpool else painted)
            self.merge.append(block(2 * width if skips else width, width))
            before = width
        self.norm = nn.GroupNorm(norm_groups, before, silu=True)
        self.head = zero_init(nn.Linear(before, num_classes * patch**2))

    def forward(self, x) -> Tensor:
        h = self.stem(ops.pixel_unshuffle(pictures(self, x), factor=self.patch))
        seen, switches = [], []
        *encoders, deepest = self.down
        for encode in encoders:
            seen.append(encode(h))
            h = ops.max_pool2d(seen[-1], kernel=2, switches=switches)
        h = deepest(h)
        for up, merge in zip(self.up, self.merge, strict=True):
            h, before, switch = up(h), seen.pop(), switches.pop()
            if self.unpool:
                h = ops.max_unpool2d(h, switches=switch)
            h = merge(ops.concat([h, before]) if self.skips else h)
        return ops.pixel_shuffle(self.head(self.norm(h)), factor=self.patch)
