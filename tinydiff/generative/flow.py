"""The normalising flow: an invertible network leads pictures to noise, and noise to pictures.

    ln p(x) = ln N(f(x); 0, I) + ln |det ∂f/∂x|,         x = f⁻¹(z),  z ~ N(0, I)

A coupling layer keeps some of the numbers, and moves and stretches the others by what a network
says of those kept.  The mask m says which: so the inverse is as easy, and the determinant a sum,

    y = m ⊙ x + (1 − m) ⊙ (x · e^s + t),      s, t = network(m ⊙ x),      ln |det| = Σ (1 − m) ⊙ s

Masks take turns, so that each number is moved: a checkerboard, and stripes along both axes, which
are what halves of the channels are once 2 × 2 pixels have become four channels.

Bytes have no density: x is moved within its bin at random, its 256 bins are mapped to (0, 1), and
from there by the logit to all numbers, where noise lives.

Sources: L. Dinh et al., "Density estimation using Real NVP", 2017, sections 3 and 4.1; L. Theis et
al., "A note on the evaluation of generative models", 2016, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import asarray, randn, to_numpy, xp
from tinydiff.diffusion.likelihood import bits_per_dim
from tinydiff.diffusion.ode_likelihood import dequantised
from tinydiff.generative.model import GenerativeModel
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor

EDGE = 1e-4  # how far from 0 and 1 the logit keeps
SPREAD = 3.0  # by which it is divided, to be about as wide as noise
WIDEST = 2.0  # s lies between −2 and 2


class Coupling(nn.Module):
    """x (N, H, W, C) → y and ln |det ∂y/∂x| (N,);  network (N, H, W, C) → (N, H, W, 2C)"""

    def __init__(self, mask: np.ndarray, network: nn.Module):
        self.mask = asarray(np.float32(mask))
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._moves(x)
        y = self.mask * x + (1 - self.mask) * (x * ops.exp(log_scale) + shift)
        return y, log_scale.reshape(len(x), -1).sum(axis=1)

    def inverse(self, y: Tensor) -> Tensor:
        log_scale, shift = self._moves(y)
        return self.mask * y + (1 - self.mask) * ((y - shift) * ops.exp(-log_scale))

    def _moves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s, zero where x is kept, and t; what is kept is the same in x and y"""
        raw, shift = ops.split(self.network(self.mask * x), 2, axis=-1)
        return (1 - self.mask) * (WIDEST * ops.tanh(raw / WIDEST)), shift


def masks(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Checkerboard and stripes of 0 and 1 (H, W, 1), each before its opposite"""
    i, j = np.indices(shape[:2])
    kept = [(k % 2)[..., None] for k in (i + j, j, i)]
    return [m for k in kept if k.any() for m in (k, 1 - k)]


class RealNVP(GenerativeModel):
    """networks  one for each coupling layer, (N, H, W, C) → (N, H, W, 2C)"""

    likelihood = "bound"  # of bytes, that is; of numbers it is exact

    def __init__(self, shape, networks: Iterable[nn.Module]):
        super().__init__(shape)
        turns = masks(self.shape)
        if not turns:
            raise ValueError(f"shape: expected two pixels or more, got {self.shape}")
        self.layers = nn.ModuleList(
            Coupling(turns[k % len(turns)], network) for k, network in enumerate(networks)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x) and ln |det ∂z/∂x| (N,)"""
        total = 0.0
        for layer in self.layers:
            x, log_det = layer(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> Tensor:
        for layer in reversed(list(self.layers)):
            z = layer.inverse(z)
        return z

    def loss(self, x) -> Tensor:
        """−log₂ of the density of dequantised bytes, per dimension"""
        return bits_per_dim(-self.log_density(dequantised(self.pictures(x))).mean(), self.size)

    def sample(self, count: int, *, rng: np.random.Generator | None = None):
        with no_grad():
            y = self.inverse(Tensor(randn((count, *self.shape), rng=rng)))
            share = (ops.sigmoid(SPREAD * y).data - EDGE) / (1 - 2 * EDGE)
        return share * (512 / 255) - 1 - 1 / 255

    def log_likelihood(self, x, *, rng: np.random.Generator | None = None) -> np.ndarray:
        """Exact for the dequantised x; over all it could be, on average a bound for the bytes."""
        x = dequantised(self.pictures(x), rng=rng)
        with no_grad():
            return to_numpy(self.log_density(x).data).astype(np.float64)

    def log_density(self, x) -> Tensor:
        """ln p(x) in nats, (N,), per unit of a bin: x from dequantised bytes, in ±(1 + 1/255)"""
        share = EDGE + (1 - 2 * EDGE) * (x + 1 + 1 / 255) * (255 / 512)  # in (0, 1)
        y = (xp.log(share) - xp.log(1 - share)) / SPREAD
        slope = math.log((1 - 2 * EDGE) / (256 * SPREAD)) - xp.log(share * (1 - share))
        z, log_det = self(Tensor(y))
        normal = -0.5 * (z * z + math.log(2 * math.pi))
        return (normal + slope).reshape(len(x), -1).sum(axis=1) + log_det
