"""What networks check of the pictures that they are given."""

from __future__ import annotations

from tinydiff.tensor import Tensor


def pictures(model, x) -> Tensor:
    """x as a Tensor; ValueError unless (N, H, W, in_channels), H and W multiples of the stride."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    stride = model.stride
    if x.ndim != 4 or x.shape[3] != model.in_channels or x.shape[1] % stride or x.shape[2] % stride:
        divisible = f" with H and W divisible by {stride}" if stride > 1 else ""
        raise ValueError(
            f"{type(model).__name__}: x has shape {x.shape}, "
            f"expected (N, H, W, {model.in_channels}){divisible}"
        )
    return x
