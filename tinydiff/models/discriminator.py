"""A discriminator of patches: at each place, does the picture there look real?

    4×4, stride 2 → LeakyReLU → (4×4, stride 2 → batch norm → LeakyReLU) × (layers − 1)
    → 4×4 → batch norm → LeakyReLU → 4×4 to one number, a logit

Its answer is a map: each logit sees a patch and knows nothing of the rest, so that sharpness and
texture are judged everywhere, and with few weights.

Source: P. Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017,
section 3.2.2 and appendix 6.1.2.  Their "70×70" is base_channels=64, layers=3.
"""

from __future__ import annotations

from tinydiff import nn
from tinydiff.models.checks import pictures
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor

WIDEST = 8  # times base_channels
SLOPE, SPREAD = 0.2, 0.02


class PatchDiscriminator(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → logits (N, h, w), large for what looks real

    base_channels  of the first layer; each further has twice as many, up to WIDEST times
    layers         of stride 2; a logit sees a patch of 16, 34, 70 … pixels for 1, 2, 3 …

    H and W are at least 3·2^layers.  Weights begin as N(0, 0.02²), those of the norms as
    N(1, 0.02²).  In training, the answer for a picture depends on the others beside it, as batch
    norm has it.
    """

    stride = 1

    def __init__(self, in_channels: int, *, base_channels: int = 64, layers: int = 3):
        owner = "PatchDiscriminator"
        at_least_one(owner, in_channels=in_channels, base_channels=base_channels, layers=layers)
        self.in_channels, self.least = in_channels, 3 * 2**layers
        modules: list[nn.Module] = [_conv(in_channels, base_channels, stride=2)]
        before = base_channels
        for layer in range(1, layers + 1):
            width, stride = base_channels * min(2**layer, WIDEST), 2 if layer < layers else 1
            modules += [nn.LeakyReLU(SLOPE), _conv(before, width, stride, bias=False), _norm(width)]
            before = width
        self.body = nn.Sequential(*modules, nn.LeakyReLU(SLOPE), _conv(before, 1))

    def forward(self, x) -> Tensor:
        x = pictures(self, x)
        if min(x.shape[1:3]) < self.least:
            raise ValueError(
                f"PatchDiscriminator: x has shape {x.shape}, expected H and W ≥ {self.least}"
            )
        return self.body(x)[..., 0]


def _conv(before: int, width: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    conv = nn.Conv2d(before, width, 4, stride=stride, padding=1, bias=bias)
    conv.weight = init.normal(conv.weight.shape, SPREAD)
    return conv


def _norm(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width)
    norm.weight.data += init.normal((width,), SPREAD).data
    return norm
