"""Curves and diagrams as pictures, by matplotlib (the extra ``plots``), loaded only when drawing.

`save_curves` draws the curves of a training run.  What is drawn once only is drawn by its example,
on a figure that begins and ends here:

    figure = plots.new_figure(7, 4)
    figure.subplots().plot(x, y)
    plots.save_figure("picture.png", figure)        # or a frame of a GIF: plots.pixels(figure)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

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
    figure = new_figure(7, 4)
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
    save_figure(path, figure)


def save_confusion(path: str | os.PathLike, counts: np.ndarray, names: Sequence[str]) -> None:
    """What was taken for what: counts (C, C), a row for each true class, a column for each answer.

    Colour is the share of the row, so that all classes weigh the same; zeros are not written.
    """
    figure = new_figure(1.5 + 0.5 * len(names), 1 + 0.45 * len(names))
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for true, said in np.argwhere(counts):
        dark = shares[true, said] > 0.5
        style = dict(ha="center", va="center", fontsize=8, color="white" if dark else "black")
        axes.text(said, true, counts[true, said], **style)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="taken for", ylabel="is")
    save_figure(path, figure)


def draw_map(axes, u, v, picture: np.ndarray, ahead: Sequence[np.ndarray], veiled=None) -> None:
    """A picture of a plane, (H, W, 3), with a line where each of ``ahead``, (H, W), is 0.

    u, v    where its columns and rows lie, (W,) and (H,), evenly spaced, v upwards
    veiled  bool (H, W): there it is paler, and a dashed line is drawn around
    """
    across, up = (u[1] - u[0]) / 2, (v[1] - v[0]) / 2
    extent = u[0] - across, u[-1] + across, v[0] - up, v[-1] + up
    axes.imshow(picture, origin="lower", extent=extent, interpolation="bilinear")
    for values in ahead:
        if values.min() < 0 < values.max():
            axes.contour(u, v, values, [0], colors="black", linewidths=1.2)
    if veiled is not None and veiled.any():
        axes.contourf(u, v, veiled, [0.5, 1.5], colors=["white"], alpha=0.6)
        axes.contour(u, v, veiled, [0.5], colors="black", linewidths=0.8, linestyles="dashed")
    axes.set(aspect="equal", xlim=(u[0], u[-1]), ylim=(v[0], v[-1]))


def draw_points(
    axes,
    points: np.ndarray,
    density: Callable[[np.ndarray], np.ndarray],
    edge: float,
    *,
    colours,
    size: float = 2.0,
    cells: int = 200,
) -> None:
    """Points of a plane, (N, 2), over a density: the darker, the larger its square root.

    density  called with cells² points (M, 2) → (M,)
    edge     both axes are shown from −edge to edge
    colours  of all points, or of each; size is theirs
    """
    side = np.linspace(-edge, edge, cells)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    heat = np.sqrt(density(grid)).reshape(cells, cells)
    axes.imshow(heat, extent=(-edge, edge) * 2, origin="lower", cmap="Blues", alpha=0.8)
    axes.scatter(*points.T, s=size, c=colours, linewidths=0)
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge))


def draw_inset(axes, at: tuple[float, float], side: float, picture: np.ndarray, colour) -> None:
    """A small picture with a frame, its middle ``at`` (u, v), in the units of the axes.

    picture  (H, W, 1 or 3), floats in [0, 1]
    """
    place = at[0] - side / 2, at[1] - side / 2, side, side
    inset = axes.inset_axes(place, transform=axes.transData)
    inset.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1)
    inset.set(xticks=[], yticks=[])
    for spine in inset.spines.values():
        spine.set(color=colour, linewidth=2.5)


def new_figure(width: float, height: float):
    """An empty matplotlib Figure of so many inches, which makes room for its labels by itself.

    It belongs to nobody: no window, no state shared with other figures.
    """
    require()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(path: str | os.PathLike, figure, *, dpi: int = 120) -> None:
    """Write a figure as PNG; makes missing folders.  The file appears complete or not at all."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=dpi)


def pixels(figure, *, dpi: int = 80) -> np.ndarray:
    """A figure as a picture, uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_panels(
    path: str | os.PathLike,
    x: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    *,
    xlabel: str,
) -> None:
    """Panels side by side, each {name of a line: (value, error) at every x}, under its own title.

    Lines stand a little beside each other, so that those which agree can all be seen.
    """
    figure = new_figure(5 * len(panels), 4)
    everywhere = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(everywhere, panels.items(), strict=True):
        apart = np.linspace(-0.5, 0.5, len(lines)) * 0.03 * np.ptp(x)
        for (name, points), marker, shift in zip(lines.items(), cycle("os^D"), apart, strict=False):
            values, errors = np.transpose(points)
            style = dict(marker=marker, markersize=5, linewidth=1.2, capsize=2, alpha=0.85)
            axes.errorbar(np.add(x, shift), values, errors, label=name, **style)
        axes.set(title=title, xlabel=xlabel)
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(path, figure)
