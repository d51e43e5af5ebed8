"""SPADE: a picture from a semantic map, which says at each place how features are scaled.

    SPADE(h, m) = (1 + γ(m)) · ĥ + β(m),     ĥ: h normalised, without parameters
    γ(m), β(m) = conv(u), conv(u),           u = relu(conv(m))

A norm washes out whatever is the same all over: what a map says of a large region would be gone
after the first layer.  So it is told again after every norm, at every resolution, and decides at
each place itself.

    m, small → conv → (block → twice as large) … → block → conv → tanh
    block(h) = shortcut(h) + conv(lrelu(SPADE(conv(lrelu(SPADE(h, m))), m)))

In m(p) = (one_hot(class at p), z of the region at p) chance has a say, too: each region of a
picture has its own z ~ N(0, I), its style.  At smaller resolutions m is its mean over the pixels of
a place: the share of each class.

Park et al. have one z a picture, at the bottom, which is a long way for the colour of each thing;
told with the map it is there at once, as in OASIS and SEAN.  They take the class of one pixel in a
place, and batch norm for ĥ; group norm leaves each picture to itself.

Sources: T. Park, M.-Y. Liu, T.-C. Wang and J.-Y. Zhu, "Semantic Image Synthesis with
Spatially-Adaptive Normalization", 2019, equation 1 and appendix A (GauGAN); E. Schönfeld
et al., "You Only Need Adversarial Supervision for Semantic Image Synthesis", 2021, section 3.3
(noise beside the map); P. Zhu et al., "SEAN", 2020, section 3 (a style for each region).
"""

from __future__ import annotations

from collections.abc import Sequence

from tinydiff import nn, ops
from tinydiff.backend import xp
from tinydiff.models.semantic_map import check_maps, one_hot
from tinydiff.nn.checks import at_least_one, divides
from tinydiff.tensor import Tensor

SLOPE = 0.2


class Spade(nn.Module):
    """(1 + γ(m)) · ĥ + β(m): h (N, H, W, channels), m (N, H, W, map_channels) → like h

    hidden  channels of u
    groups  of the norm
    """

    def __init__(self, channels: int, map_channels: int, *, hidden: int, groups: int):
        at_least_one("Spade", channels=channels, map_channels=map_channels, hidden=hidden)
        at_least_one("Spade", groups=groups)
        divides("Spade", "groups", groups, channels=channels)
        self.channels, self.groups = channels, groups
        self.look = nn.Conv2d(map_channels, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, h: Tensor, m: Tensor) -> Tensor:
        one, zero = xp.ones(self.channels, h.dtype), xp.zeros(self.channels, h.dtype)
        normal = ops.group_norm(h, one, zero, groups=self.groups)
        u = ops.relu(self.look(m))
        return normal * (1 + self.gamma(u)) + self.beta(u)


class SpadeBlock(nn.Module):
    """The block above: h (N, H, W, in), m (N, H, W, map_channels) → (N, H, W, out)

    Where the channels change, the shortcut is a 1×1 convolution of SPADE(h, m).
    """

    def __init__(self, in_channels: int, out_channels: int, map_channels: int, **spade):
        middle = min(in_channels, out_channels)
        self.spade1 = Spade(in_channels, map_channels, **spade)
        self.conv1 = nn.Conv2d(in_channels, middle, 3, padding=1)
        self.spade2 = Spade(middle, map_channels, **spade)
        self.conv2 = nn.Conv2d(middle, out_channels, 3, padding=1)
        changes = in_channels != out_channels
        self.spade3 = Spade(in_channels, map_channels, **spade) if changes else None
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False) if changes else None

    def forward(self, h: Tensor, m: Tensor) -> Tensor:
        y = self.conv1(ops.leaky_relu(self.spade1(h, m), slope=SLOPE))
        y = self.conv2(ops.leaky_relu(self.spade2(y, m), slope=SLOPE))
        return y + (h if self.shortcut is None else self.shortcut(self.spade3(h, m)))


class SpadeGenerator(nn.Module):
    """Called as model(maps, regions, z) → (N, H, W, out_channels) in [−1, 1]

    maps     (N, H, W), the class at each pixel, 0 … map_classes − 1, or map_classes for "unknown"
    regions  (N, H, W), the region there, 0 … R − 1
    z        (N, R, latent), the style of each region

    widths       channels, from full resolution down: each level has half the places a side
    hidden       channels in which each SPADE sees its map
    norm_groups  of each SPADE
    patch        patch × patch pixels are computed as the channels of one place, as in `UNet`

    H and W are multiples of ``stride``.
    """

    independent_images = True

    def __init__(
        self,
        out_channels: int,
        *,
        map_classes: int,
        latent: int = 4,
        widths: Sequence[int] = (24, 24, 48),
        hidden: int = 16,
        norm_groups: int = 8,
        patch: int = 1,
    ):
        owner = "SpadeGenerator"
        at_least_one(owner, out_channels=out_channels, map_classes=map_classes)
        at_least_one(owner, latent=latent, patch=patch)
        if not widths:
            raise ValueError(f"{owner}: widths are none, expected at least one")
        self.map_classes, self.latent, self.patch = map_classes, latent, patch
        self.stride = patch * 2 ** (len(widths) - 1)
        seen = (map_classes + latent) * patch**2
        settings = {"hidden": hidden, "groups": norm_groups}
        up = tuple(reversed(widths))
        self.start = nn.Conv2d(seen, up[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            SpadeBlock(before, width, seen, **settings)
            for before, width in zip((up[0], *up), up, strict=False)
        )
        self.head = nn.Conv2d(up[-1], out_channels * patch**2, 3, padding=1)

    def forward(self, maps, regions, z) -> Tensor:
        z = z if isinstance(z, Tensor) else Tensor(z)
        told = self._at_each_level(self._told(maps, regions, z))
        h = self.start(told[-1])
        for level, block in enumerate(self.blocks):
            h = block(ops.upsample_nearest2d(h) if level else h, told.pop())
        h = self.head(ops.leaky_relu(h, slope=SLOPE))
        return ops.tanh(ops.pixel_shuffle(h, factor=self.patch) if self.patch > 1 else h)

    def _told(self, maps, regions, z: Tensor) -> Tensor:
        """m (N, H, W, map_classes + latent) at full resolution"""
        if z.ndim != 3 or z.shape[2] != self.latent:
            raise ValueError(
                f"SpadeGenerator: z has shape {z.shape}, expected (N, R, {self.latent})"
            )
        shape = xp.shape(maps)
        if len(shape) != 3 or any(side % self.stride for side in shape[1:]):
            raise ValueError(
                f"SpadeGenerator: maps have shape {shape}, expected (N, H, W) "
                f"with H and W divisible by {self.stride}"
            )
        n, height, width = shape
        check_maps("SpadeGenerator", maps, (len(z), height, width), self.map_classes)
        check_maps("SpadeGenerator: regions", regions, shape, z.shape[1] - 1)
        where = one_hot(regions, z.shape[1], z.dtype).reshape(n, height * width, -1)
        style = ops.matmul(Tensor(where), z).reshape(n, height, width, self.latent)
        return ops.concat([Tensor(one_hot(maps, self.map_classes, z.dtype)), style])

    def _at_each_level(self, m: Tensor) -> list[Tensor]:
        """m from full resolution down, as the blocks need it from the end."""
        levels = [ops.pixel_unshuffle(m, factor=self.patch) if self.patch > 1 else m]
        for _ in range(len(self.blocks) - 1):
            levels.append(ops.avg_pool2d(levels[-1], kernel=2))
        return levels
