"""The autoregressive model: each pixel is told those before it, and says how likely each byte is.

    P(x) = Π_i P(x_i | x_1 … x_{i−1}),        pixels row by row, left to right

One network answers for all i at once, as its convolutions look at no pixel that comes later: their
weights are multiplied by a mask.  One stack sees the rows above, and one, which is told what the
first has found, what is on the left of its own row; nothing in the past is hidden from both.

    above:  rows before the middle one      (kind A, the first layer), and the middle one (kind B)
    left:   the middle row before the pixel (kind A), and the pixel    (kind B)

What a layer of "above" finds at row i is of rows before i, so that B may look along row i of it.
Each layer is gated, y = tanh(a) ⊙ σ(b), with a and b the two halves of a convolution.  Likelihoods
are exact, and a picture is drawn pixel by pixel.

Sources: A. van den Oord et al., "Pixel Recurrent Neural Networks", 2016, section 3.4; "Conditional
Image Generation with PixelCNN Decoders", 2016, section 2 (gates, two stacks).
"""

from __future__ import annotations

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import asarray, rand, to_numpy, xp
from tinydiff.diffusion.likelihood import bits_per_dim
from tinydiff.generative.model import GenerativeModel
from tinydiff.nn.checks import at_least_one
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor


class MaskedConv2d(nn.Conv2d):
    """A convolution of the same size that sees nothing from its middle on: see above.

    sees  "above" (n × n) or "left" (1 × n);  kind  "A", or "B": the middle row or pixel, too
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, sees: str, kind: str):
        kernel = (size, size) if sees == "above" else (1, size)
        super().__init__(in_channels, out_channels, kernel, padding="same")
        line = np.arange(size) < size // 2 + (kind == "B")
        mask = line[:, None] if sees == "above" else line[None]
        self.mask = asarray(np.float32(np.broadcast_to(mask, kernel)[..., None, None]))

    def forward(self, x):
        return ops.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class GatedLayer(nn.Module):
    """(above, left) → the same, (N, H, W, width) each; ``kind`` A is the first, on the picture."""

    def __init__(self, in_channels: int, width: int, size: int, kind: str):
        self.kind = kind
        self.above = MaskedConv2d(in_channels, 2 * width, size, "above", kind)
        self.left = MaskedConv2d(in_channels, 2 * width, size, "left", kind)
        self.told = nn.Linear(2 * width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, above: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        found = self.above(above)
        row = self.out(gate(self.left(left) + self.told(found)))
        return gate(found), row if self.kind == "A" else left + row


def gate(x: Tensor) -> Tensor:
    """tanh(a) ⊙ σ(b), of the halves of the channels"""
    a, b = ops.split(x, 2, axis=-1)
    return ops.tanh(a) * ops.sigmoid(b)


class PixelCNN(GenerativeModel):
    """width   channels of each stack
    layers  how many, after a first one of 7 × 7
    levels  of a pixel, evenly in [−1, 1]; pictures are grey
    """

    likelihood = "exact"
    independent_images = True

    def __init__(self, shape, width: int, layers: int, levels: int = 256):
        super().__init__(shape)
        if self.shape[2] != 1:
            raise ValueError(f"shape: expected grey pictures (H, W, 1), got {self.shape}")
        at_least_one("PixelCNN", width=width, layers=layers)
        if not levels >= 2:
            raise ValueError(f"PixelCNN: levels is {levels}, expected an int ≥ 2")
        self.levels, self.evaluations = levels, self.size
        self.first = GatedLayer(2, width, 7, "A")
        self.layers = nn.ModuleList(GatedLayer(width, width, 3, "B") for _ in range(layers))
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width), nn.SiLU())
        self.logits = nn.Linear(2 * width, levels)

    def forward(self, x) -> Tensor:
        """(N, H, W, 1) → the logits of each pixel's levels, (N, H, W, levels)"""
        x = x if isinstance(x, Tensor) else Tensor(x)
        x = ops.concat([x, xp.ones(x.shape, x.dtype)], axis=-1)  # ones tell where a picture ends
        above, left = self.first(x, x)
        for layer in self.layers:
            above, left = layer(above, left)
        return self.logits(self.head(left))

    def loss(self, x) -> Tensor:
        """−log₂ P(x) per dimension"""
        x = self.pictures(x)
        return bits_per_dim(ops.cross_entropy(self(x), self.bins(x)), 1)

    def sample(self, count: int, *, rng: np.random.Generator | None = None):
        x = xp.zeros((count, *self.shape), np.float32)
        height, width, _ = self.shape
        for i in range(height):
            for j in range(width):
                with no_grad():
                    logits = self(x[:, : i + 1])[:, i, j]  # rows below are not looked at
                    shares = ops.softmax(logits).data.cumsum(axis=1)
                chosen = (shares < rand((count, 1), rng=rng) * shares[:, -1:]).sum(axis=1)
                x[:, i, j, 0] = chosen * (2 / (self.levels - 1)) - 1
        return x

    def log_likelihood(self, x, *, rng: np.random.Generator | None = None) -> np.ndarray:
        x = self.pictures(x)
        with no_grad():
            nats = ops.cross_entropy(self(x), self.bins(x), reduction="none").data
        return -to_numpy(nats.reshape(len(x), -1).astype(np.float64).sum(axis=1))

    def bins(self, x) -> np.ndarray:
        """The level of each pixel, integers (N, H, W) from 0"""
        return to_numpy(xp.rint((x[..., 0] + 1) * ((self.levels - 1) / 2))).astype(np.int64)
