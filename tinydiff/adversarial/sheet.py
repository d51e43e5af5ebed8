"""Sheets to judge by eye: what an attack changes in pictures, and what noise does to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinydiff.adversarial.smoothing import ABSTAIN, Certificates, Smoothed
from tinydiff.images import captioned_grid, labelled_grid

WIDTH = 96  # pixels of each cell, about
COPIES = 5  # of a picture, with noise


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


def noisy_copies(
    smoothed: Smoothed,
    x: np.ndarray,
    certificates: Certificates,
    classes: Sequence[str],
    *,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """A row for each picture, with its certificate, and noisy copies with what is seen in each.

    x             pictures (N, H, W, C) in [0, 1] on the host, C = 1 or 3
    certificates  those of the same pictures
    classes       their names

    The network sees what leaves [0, 1]; here it is cut off.  Returns a picture, uint8 (H', W', 3).
    Raises ValueError unless there is a certificate for each picture, and what `Smoothed.look` does.
    """
    known = len(certificates.classes)
    if known != len(x):
        raise ValueError(f"certificates: expected {len(x)}, one for each picture, got {known}")
    cells, captions = [], []
    for i, (picture, c) in enumerate(zip(x, certificates.classes, strict=True)):
        copies, seen = smoothed.look(np.stack([picture] * COPIES), rng=rng)
        verdict = "abstains" if c == ABSTAIN else f"{classes[c]} {certificates.within(i)}"
        cells += [picture, *np.clip(copies, 0, 1)]
        captions += [verdict, *(classes[k] for k in seen)]
    scale = max(1, WIDTH // x.shape[2])
    return captioned_grid(np.stack(cells), captions, 1 + COPIES, scale=scale)
