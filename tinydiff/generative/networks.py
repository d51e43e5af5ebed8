"""Small networks for the models here: of linear layers for any shape, of convolutions for pictures.

What a model is does not depend on them: each takes the networks it needs, from shape to shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from tinydiff import nn, ops
from tinydiff.models.embedding import sinusoidal_embedding
from tinydiff.tensor import Tensor

GROUPS = 8  # of group norms
WAVES = 3  # frequencies at which a point is looked at


class Dense(nn.Module):
    """(N, *into) → (N, *out) by linear layers: ``depth`` hidden ones of ``width``, with SiLU."""

    independent_images = True

    def __init__(self, into: Sequence[int], out: Sequence[int], width: int, depth: int):
        self.out = tuple(out)
        widths = [math.prod(into), *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(widths[-1], math.prod(out))

    def forward(self, x) -> Tensor:
        h = x.reshape(x.shape[0], -1)
        for layer in self.hidden:
            h = ops.silu(layer(h))
        return self.head(h).reshape(len(h), *self.out)


class Waves(nn.Module):
    """(N, …) → (N, size·(1 + 2·count)): x beside sin(πkx) and cos(πkx), k = 1, 2, 4 … 2^(count−1)

    With them a network sees at once how x differs in detail (M. Tancik et al., "Fourier Features
    Let Networks Learn High Frequency Functions in Low Dimensional Domains", 2020).
    """

    independent_images = True

    def __init__(self, size: int, count: int):
        self.count, self.out = count, size * (1 + 2 * count)

    def forward(self, x) -> Tensor:
        x = x.reshape(x.shape[0], -1)
        angles = [math.pi * 2**k * x for k in range(self.count)]
        return ops.concat([x, *map(ops.sin, angles), *map(ops.cos, angles)], axis=1)


def dense_on_waves(into: Sequence[int], out: Sequence[int], width: int, depth: int):
    """`Dense` that sees its input (N, *into) through `Waves`."""
    waves = Waves(math.prod(into), WAVES)
    return nn.Sequential(waves, Dense((waves.out,), out, width, depth))


class DenseInTime(nn.Module):
    """A denoiser model(x, t, cond=None): `Dense` that is told of t (N,) beside x (N, *shape)."""

    independent_images = True

    def __init__(self, shape: Sequence[int], width: int, depth: int):
        self.width = width
        self.waves = Waves(math.prod(shape), WAVES)
        self.picture, self.time = nn.Linear(self.waves.out, width), nn.Linear(width, width)
        self.rest = Dense((width,), shape, width, depth - 1)

    def forward(self, x, t, cond=None) -> Tensor:
        time = self.time(Tensor(sinusoidal_embedding(t, self.width)))
        return self.rest(ops.silu(self.picture(self.waves(x)) + time))


class Shrinking(nn.Module):
    """(N, H, W, C) → (N, *out): H and W, multiples of 4, are halved twice by convolutions."""

    independent_images = True

    def __init__(self, shape: Sequence[int], out: Sequence[int], width: int):
        height, wide, channels = _quartered("Shrinking", shape)
        self.out = tuple(out)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(height * wide * 4 * width, 4 * width),
            nn.SiLU(),
            nn.Linear(4 * width, math.prod(out)),
        )

    def forward(self, x) -> Tensor:
        return self.layers(x).reshape(len(x), *self.out)


class Growing(nn.Module):
    """(N, into) → (N, H, W, C): from H/4 × W/4 up, by transposed convolutions with group norms."""

    independent_images = True

    def __init__(self, into: int, shape: Sequence[int], width: int):
        height, wide, channels = _quartered("Growing", shape)
        self.start = height, wide, 4 * width
        self.stem = nn.Linear(into, math.prod(self.start))
        self.layers = nn.Sequential(
            nn.GroupNorm(GROUPS, 4 * width, silu=True),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding="same"),
            nn.GroupNorm(GROUPS, 2 * width, silu=True),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding="same"),
            nn.GroupNorm(GROUPS, width, silu=True),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, z) -> Tensor:
        return self.layers(self.stem(z).reshape(len(z), *self.start))


def _quartered(owner: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """A quarter of H and of W, and C"""
    height, width, channels = shape
    if height % 4 or width % 4:
        raise ValueError(f"{owner}: shape is {tuple(shape)}, expected multiples of 4 × 4 pixels")
    return height // 4, width // 4, channels
