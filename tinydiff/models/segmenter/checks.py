"""What the segmenters check: their sizes when they are made, and the pictures they are given."""

from __future__ import annotations

from collections.abc import Sequence

from tinydiff.nn.checks import at_least_one, divides
from tinydiff.tensor import Tensor


def check_sizes(model, classes: int, norm_groups: int, widths: Sequence[int]) -> None:
    """Raise ValueError unless there is a class and a width, and the groups divide all widths."""
    name = type(model).__name__
    at_least_one(name, in_channels=model.in_channels, num_classes=classes, norm_groups=norm_groups)
    if not widths:
        raise ValueError(f"{name}: widths is empty, expected a number of channels or more")
    for width in widths:
        at_least_one(name, widths=width)
        divides(name, "norm_groups", norm_groups, widths=width)


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
