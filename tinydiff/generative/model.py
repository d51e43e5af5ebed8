"""What six ways to learn a distribution have in common, so that they can be put side by side.

Pictures x are (N, H, W, C) of 256 levels in [−1, 1], as `images.to_float` makes them of bytes.  A
point in the plane is one, too: its two coordinates are two pixels, (N, 1, 2, 1).  So what any model
says of a picture is the probability of its bytes, and all compare in bits per dimension.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import nn
from tinydiff.backend import asarray
from tinydiff.tensor import Tensor


class GenerativeModel(nn.Module):
    """Learns by `loss` from pictures, and then draws new ones.

    shape        (H, W, C) of a picture
    likelihood   what `log_likelihood` tells: "exact", "bound" from below; None if there is none
    evaluations  of the network, one after the other, to draw a picture
    """

    likelihood: str | None = None
    evaluations = 1

    def __init__(self, shape: tuple[int, int, int]):
        shape = tuple(shape)
        if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(f"shape: expected (H, W, C), got {shape}")
        self.shape = shape

    @property
    def size(self) -> int:
        """How many numbers a picture has"""
        return math.prod(self.shape)

    def loss(self, x) -> Tensor:
        """What training makes smaller, of a batch x (N, H, W, C): a scalar."""
        raise NotImplementedError(f"{type(self).__name__} does not define loss")

    def sample(self, count: int, *, rng: np.random.Generator | None = None):
        """``count`` new pictures, a backend array (count, H, W, C), about in [−1, 1]."""
        raise NotImplementedError(f"{type(self).__name__} does not define sample")

    def log_likelihood(self, x, *, rng: np.random.Generator | None = None) -> np.ndarray:
        """ln P of each picture's bytes in nats, or a bound from below: float64 (N,) on the host."""
        raise NotImplementedError(f"{type(self).__name__} has no likelihood that can be computed")

    def pictures(self, x):
        """x as a backend array; ValueError unless it is (N, H, W, C) of floats."""
        x = asarray(x)
        if x.ndim != 4 or x.shape[1:] != self.shape or x.dtype.kind != "f":
            raise ValueError(
                f"x: expected floats (N, {', '.join(map(str, self.shape))}) in [−1, 1], "
                f"got {x.dtype} of shape {x.shape}"
            )
        return x
