"""What a picture should not be like, as numbers to take from what is to grow.

    total variation    mean over pixels of ((Δh)² + (Δv)²)^{β/2}, summed over the colours
    α-norm             mean over pixels of |x|^α, α = 6: stay in the range

Δh and Δv are differences to the pixel on the right and below, 0 in the last column and row.  Means
instead of sums, so that a weight suits pictures of all sizes.

Source: A. Mahendran and A. Vedaldi, "Understanding Deep Image Representations by Inverting Them",
2015, section 3.
"""

from __future__ import annotations

from collections.abc import Callable

from tinydiff import ops
from tinydiff.checks import positive
from tinydiff.nn import Module
from tinydiff.tensor import Tensor
from tinydiff.visualize.target import Objective

EPS = 1e-6  # under a root, whose slope at 0 has no end


def total_variation(x: Tensor, *, beta: float = 2.0) -> Tensor:
    """(N, H, W, C) → (N,).  beta 2 makes smooth pictures, 1 leaves edges sharp."""
    positive(beta=beta)
    across = ops.pad(x[:, :, 1:] - x[:, :, :-1], [(0, 0), (0, 0), (0, 1), (0, 0)])
    down = ops.pad(x[:, 1:] - x[:, :-1], [(0, 0), (0, 1), (0, 0), (0, 0)])
    squares = ops.square(across) + ops.square(down)
    steps = squares if beta == 2 else (squares + EPS) ** (beta / 2) - EPS ** (beta / 2)
    return steps.sum(axis=3).mean(axis=(1, 2))


def alpha_norm(x: Tensor) -> Tensor:
    """(N, H, W, C) → (N,)"""
    return (x**6).sum(axis=3).mean(axis=(1, 2))


def penalised(target: Objective, weight: float, penalty: Callable[[Tensor], Tensor]) -> Objective:
    """target − weight·penalty(x), an objective again."""
    positive(weight=weight)

    def both(model: Module, x: Tensor) -> Tensor:
        return target(model, x) - weight * penalty(x)

    return both
