"""What the segmenters check when they are made: their sizes."""

from __future__ import annotations

from collections.abc import Sequence

from tinydiff.nn.checks import at_least_one, divides


def check_sizes(model, classes: int, norm_groups: int, widths: Sequence[int]) -> None:
    """Raise ValueError unless there is a class and a width, and the groups divide all widths."""
    name = type(model).__name__
    at_least_one(name, in_channels=model.in_channels, num_classes=classes, norm_groups=norm_groups)
    if not widths:
        raise ValueError(f"{name}: widths is empty, expected a number of channels or more")
    for width in widths:
        at_least_one(name, widths=width)
        divides(name, "norm_groups", norm_groups, widths=width)
