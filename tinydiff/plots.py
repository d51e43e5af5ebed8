"""Curves as PNG files, by matplotlib (the extra ``plots``), which is loaded only when drawing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from tinydiff.files import replacing


def require() -> None:
    """Raise ImportError, with the remedy, if curves cannot be drawn: ask before hours of work."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(
            "curves are drawn by matplotlib, which is not installed: pip install matplotlib"
        ) from None


def save_curves(
    path: str | os.PathLike,
    curves: Mapping[str, Sequence[float]],
    *,
    title: str,
    xlabel: str = "step",
    ylabel: str = "loss",
    log_scale: bool = True,
) -> None:
    """One line for each named sequence, its values numbered from 1, pale, and its average over
    the last 2 % in full colour."""
    require()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, values) in enumerate(curves.items()):
        values = np.asarray(values, float)
        span = max(1, len(values) // 50)
        total = np.cumsum(np.insert(values, 0, 0.0))
        steps = np.arange(1, len(values) + 1)
        smooth = (total[span:] - total[:-span]) / span
        axes.plot(steps, values, color=f"C{number}", alpha=0.25, linewidth=0.8)
        axes.plot(steps[span - 1 :], smooth, color=f"C{number}", label=name)
    if log_scale:
        axes.set_yscale("log")
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
