"""What happens to a distribution: it melts into white noise, and is led back by its score.

    python examples/forward_process.py

A mixture of Gaussians stays one under noise, so everything here is exact but the samples: no
network, no training.  Writes to runs/forward-process/:

line.png    a density on a line, over time, with paths into noise (single steps of the forward
            process) and back (DDPM, which is random, and the ODE of DDIM, which is not)
line.gif    histograms of such samples over the exact density, there and back
plane.png   the same for two spirals in a plane: samples over the exact density
plane.gif   the samples on their way, coloured by the spiral they come from
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinydiff import images, plots
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.commandline import parser, run, run_folder, whole
from tinydiff.diffusion import (
    GaussianDiffusion,
    NoiseSchedule,
    denoiser,
    sample_ddim,
    sample_ddpm,
)
from tinydiff.diffusion.mixture import GaussianMixture

LINE = GaussianMixture([0.3, 0.5, 0.2], [[-1.6], [0.3], [1.7]], [0.1, 0.2, 0.15])
TURNS = np.pi * np.sqrt(np.linspace(1, 10, 24))  # evenly along the arm
ARM = 0.19 * TURNS[:, None] * np.stack([np.cos(TURNS), np.sin(TURNS)], axis=1)
PLANE = GaussianMixture(np.ones(48), np.concatenate([ARM, -ARM]), 0.07)
INK, SECOND, HEAT = "#16324f", "#e4572e", "Blues"
EDGE = 3.2  # pictures show −EDGE … EDGE


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder, rng = run_folder(args, "forward-process"), np.random.default_rng(args.seed)
    schedule = NoiseSchedule.linear(args.steps, 0.1 / args.steps, 20 / args.steps)
    line = films(LINE, schedule, args.points, rng, "line")
    plane = films(PLANE, schedule, 1500, rng, "plane")  # more would hide the density
    draw_line(folder / "line.png", schedule, *line)
    draw_plane(folder / "plane.png", schedule, *plane)
    for name, film, draw in (("line", line, draw_on_line), ("plane", plane, draw_on_plane)):
        frames = list(moments(schedule.T, 32))
        total = 2 * len(frames)
        shown = tqdm(there_and_back(schedule, film, frames, draw), f"{name}.gif", total)
        images.save_gif(folder / f"{name}.gif", shown, fps=12, hold=2)
    print(f"See line.png, line.gif, plane.png and plane.gif in {folder}.")


def films(mixture: GaussianMixture, schedule, count: int, rng, name: str) -> list[np.ndarray]:
    """Three films (T + 1, count, D) of x at frame 0 (the data), 1, …, T (noise): there by single
    steps, and back by DDPM and by the ODE."""
    there = [mixture.sample(count, rng=rng, dtype=np.float32)]
    for beta in schedule.betas.tolist():
        noise = randn(there[-1].shape, rng=rng)
        there.append((1 - beta) ** 0.5 * there[-1] + beta**0.5 * noise)  # q(x_t | x_{t−1})
    denoise = denoiser(mixture.ideal_network(schedule), GaussianDiffusion(schedule))
    x_T, back = randn(there[0].shape, rng=rng), []
    for walk in (sample_ddpm, sample_ddim):
        steps = walk(denoise, x_T, schedule, steps=schedule.T, clip=False, rng=rng)
        back.append([x_T, *tqdm(steps, f"{name}, {walk.__name__}", schedule.T)])
    return [np.stack([to_numpy(x) for x in film]) for film in (there, *(b[::-1] for b in back))]


def density(mixture: GaussianMixture, points: np.ndarray, schedule, frame: int) -> np.ndarray:
    """The exact density of a frame at points (N, D): of the data, or of x_t with t = frame − 1"""
    levels = (1.0, 0.0) if frame == 0 else schedule.signal_and_sigma(frame - 1)
    return np.exp(to_numpy(mixture.log_density(asarray(points), *levels)))


def moments(T: int, count: int) -> np.ndarray:
    """Frames from 0 to T, closer together at first, where more happens"""
    return np.unique((T * np.linspace(0, 1, count) ** 2.2).astype(int))


def moment(frame: int) -> str:
    return f"{frame} {'step' if frame == 1 else 'steps'} of noise" if frame else "data"


def draw_line(path: Path, schedule: NoiseSchedule, there, ddpm, ddim) -> None:
    """Density over time as a heat map, paths over it, and histograms where they begin and end."""
    T, grid = schedule.T, np.linspace(-EDGE, EDGE, 400)[:, None]
    columns = np.linspace(0, T, 241).round().astype(int)
    heat = np.stack([density(LINE, grid, schedule, frame) for frame in columns], axis=1)
    figure = plots.new_figure(15, 5)
    parts = figure.subplots(1, 5, sharey=True, width_ratios=[1, 4, 1, 4, 1])
    for axes, x, frame, title in (
        (parts[0], there[0], 0, "data"),
        (parts[2], there[-1], T, "white noise"),
        (parts[4], ddpm[0], 0, "drawn (DDPM)"),
    ):
        histogram(axes, x, orientation="horizontal")
        axes.plot(density(LINE, grid, schedule, frame), grid, color=INK, linewidth=1.8)
        axes.set(title=title, xlabel="density", xlim=(0, 1.3), xticks=[0, 1])
    time = np.arange(T + 1)
    for axes, film, title in (
        (parts[1], there, "there: single steps $q(x_t\\,|\\,x_{t-1})$"),
        (parts[3], ddpm, "back: along the score, with noise and without"),
    ):
        shown = dict(extent=(0, T, -EDGE, EDGE), aspect="auto", origin="lower", cmap=HEAT)
        axes.imshow(np.sqrt(heat), **shown)
        chosen = np.argsort(film[T if film is ddpm else 0, :, 0])
        chosen = chosen[(np.linspace(0.04, 0.96, 6) * len(chosen)).astype(int)]
        random = axes.plot(time, film[:, chosen, 0], color=INK, linewidth=0.8)
        axes.set(title=title, xlabel="steps of noise in x", xlim=(0, T))
    smooth = axes.plot(time, ddim[:, chosen, 0], color=SECOND, linewidth=2)
    axes.legend([random[0], smooth[0]], ["DDPM", "ODE (DDIM)"], loc="upper right", ncols=2)
    axes.invert_xaxis()
    parts[0].set(ylabel="x", ylim=(-EDGE, EDGE))
    plots.save_figure(path, figure)


def draw_plane(path: Path, schedule: NoiseSchedule, *three) -> None:
    """Samples over the exact density: there, and back in two ways."""
    frames = moments(schedule.T, 6)
    figure = plots.new_figure(15, 8)
    rows = figure.subplots(3, len(frames), sharex=True, sharey=True)
    names = "there: single steps", "back: DDPM", "back: ODE (DDIM)"
    for row, film, name in zip(rows, three, names, strict=True):
        for axes, frame in zip(row, frames, strict=True):
            draw_on_plane(axes, schedule, film, frame)
        row[0].set(ylabel=name)
    for axes, frame in zip(rows[0], frames, strict=True):
        axes.set(title=moment(frame))
    plots.save_figure(path, figure)


def draw_on_plane(axes, schedule, film: np.ndarray, frame: int) -> None:
    """Each sample has the colour of the spiral it comes from, or is on its way to."""
    nearest = ((film[0, :, None] - PLANE.means) ** 2).sum(axis=2).argmin(axis=1)
    look = {"colours": np.where(nearest < len(ARM), INK, SECOND), "size": 2.5, "cells": 120}
    plots.draw_points(axes, film[frame], lambda x: density(PLANE, x, schedule, frame), EDGE, **look)
    axes.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2])


def draw_on_line(axes, schedule, film: np.ndarray, frame: int) -> None:
    grid = np.linspace(-EDGE, EDGE, 400)[:, None]
    histogram(axes, film[frame])
    axes.plot(grid, density(LINE, grid, schedule, frame), color=INK, linewidth=2)
    axes.set(xlim=(-EDGE, EDGE), ylim=(0, 1.3), xlabel="x", ylabel="density")


def histogram(axes, x: np.ndarray, **settings) -> None:
    settings |= dict(bins=70, range=(-EDGE, EDGE), density=True, histtype="stepfilled")
    axes.hist(x[:, 0], color=INK, alpha=0.3, **settings)


def there_and_back(schedule: NoiseSchedule, three, frames, draw):
    """Pictures of the films there and back (DDPM) at the given frames"""
    there, ddpm, _ = three
    for film, order, name in ((there, frames, "there"), (ddpm, frames[::-1], "back (DDPM)")):
        for frame in order:
            figure = plots.new_figure(4.5, 4.2)
            axes = figure.subplots()
            draw(axes, schedule, film, frame)
            axes.set(title=f"{name}: {moment(frame)}")
            yield plots.pixels(figure, dpi=90)


def parse_arguments():
    options = parser(__doc__, "--seed", "--out")
    options.add_argument("--points", type=whole(100), default=8000, help="how many samples")
    options.add_argument("--steps", type=whole(50), default=1000, help="T of the schedule")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
