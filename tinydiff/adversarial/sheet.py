"""A sheet to judge by eye: pictures before and after, and the change between them made visible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinydiff.images import labelled_grid

WIDTH = 96  # pixels of each cell, about


def before_and_after(
    before: np.ndarray, after: np.ndarray, verdicts: Sequence[str], *, times: float = 20
) -> np.ndarray:
    """A row for each picture: its verdict, the picture, the change on middle grey, and the result.

    before, after  pictures (N, H, W, C) in [0, 1] on the host, C = 1 or 3
    times          how much stronger the change is shown; what leaves [0, 1] so is cut off

    Returns a picture, uint8 (H', W', 3).  Raises ValueError unless there is a verdict for each.
    """
    if before.shape != after.shape or len(verdicts) != len(before):
        raise ValueError(
            f"expected as many after and verdicts as before, got shapes {before.shape} and "
            f"{after.shape}, and {len(verdicts)} verdicts"
        )
    change = np.clip(0.5 + times * (after - before), 0, 1)
    cells = np.stack([before, change, after], axis=1).reshape(-1, *before.shape[1:])
    columns = ["before", f"change, {times:g} times", "after"]
    return labelled_grid(cells, columns, verdicts, scale=max(1, WIDTH // before.shape[2]))
