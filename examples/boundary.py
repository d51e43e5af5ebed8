"""Decision boundaries in a plane: where networks change their minds, before and after smoothing.

    python examples/boundary.py
    python examples/boundary.py --only moons --sigma 0.12

A point in the plane is a picture of two pixels: attacks and defences are those of pictures.  Small
networks learn from some points of two or four classes, in four ways: as ever; from points with
noise; from points moved by an attack; and with a penalty on the slope of the loss.  Each is then
smoothed: asked about noisy copies of a point, of which most decide.

Writes to runs/boundary/: moons.png, spirals.png and blobs.png, the networks above and the smoothed
ones below: a colour for each class, darker where the network is surer, the points it learned from,
and from each the way to the nearest place of another class; and table.txt: how many of 1,000 other
points are seen rightly, and how far that way is, on the average (seen as another class already: 0).
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from tqdm import tqdm

import tinydiff as td
from tinydiff import nn, ops, optim, plots
from tinydiff.adversarial import (
    Map,
    Plane,
    Smoothed,
    adversarial_loss,
    gradient_penalty_loss,
    map_of,
    on_pictures,
    probabilities,
)
from tinydiff.backend import asarray, randn
from tinydiff.commandline import number, parser, run, run_folder, whole

WIDTH, LR = 64, 0.01
GRID, DRAWS = (201, 61), 2000  # points a side, of a network, and smoothed, by so many draws
COLOURS = np.array([[0.13, 0.40, 0.75], [0.88, 0.35, 0.10], [0.15, 0.58, 0.30], [0.50, 0.25, 0.65]])
PLANE = Plane(np.zeros((1, 1, 2)), np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]]))


def moons(count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Two half circles, one into the other"""
    y, turn = np.arange(count) % 2, np.pi * rng.random(count)
    x = np.stack([np.cos(turn), np.sin(turn)], axis=1) * np.where(y, -1, 1)[:, None]
    return 0.5 + (x + np.where(y[:, None], [0.5, 0.25], [-0.5, -0.25])) / 3.9, y


def spirals(count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Two arms, evenly filled"""
    y, turn = np.arange(count) % 2, 0.3 + 2.6 * np.pi * np.sqrt(rng.random(count))
    angle = turn + np.pi * y
    return 0.5 + 0.048 * turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), y


def blobs(count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Four heaps"""
    y = np.arange(count) % 4
    return np.array([[0.3, 0.3], [0.7, 0.35], [0.35, 0.7], [0.7, 0.7]])[y], y


# The points, the deviation of their noise, and that of smoothing
TOYS = {
    "moons": (moons, 0.055, 0.08),
    "spirals": (spirals, 0.02, 0.04),
    "blobs": (blobs, 0.1, 0.08),
}


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder, lines = run_folder(args, "boundary"), []
    for name in [args.only] if args.only else TOYS:
        make, spread, sigma = TOYS[name]
        sigma = args.sigma or sigma

        def points(count: int, seed: int, make=make, spread=spread):
            rng = np.random.default_rng(seed)
            x, y = make(count, rng)
            return np.clip(x + spread * rng.standard_normal(x.shape), 0, 1), y

        train, test = points(args.points, args.seed), points(1000, args.seed + 1)
        lines += [f"{f'{name}, smoothed by σ {sigma:g}':<32}   right  smoothed   far  smoothed"]
        figure, shown = plots.new_figure(14, 7.6), tqdm(ways_to_learn(sigma).items(), name)
        for column, (way, loss) in zip(figure.subplots(2, 4).T, shown, strict=True):
            model, rng = learned(loss, *train, args), np.random.default_rng(args.seed)
            smoothed = Smoothed(model, sigma)

            def votes(x, smoothed=smoothed, rng=rng):
                return smoothed.counts(x, DRAWS, rng=rng) / DRAWS

            told, answers = [], (partial(probabilities, model), votes)
            for axes, answer, side in zip(column, answers, GRID, strict=True):
                places = np.linspace(0, 1, side)
                found = map_of(PLANE, answer, places, places)
                right = (answer(pictures(test[0])).argmax(axis=1) == test[1]).mean()
                told.append((right, draw(axes, found, *train)))
                title = way if answer is not votes else "smoothed"
                axes.set(title=f"{title}: {right:.1%} right, {told[-1][1]:.3f} far")
            (right, far), (also, farther) = told
            lines += [f"  {way:<30}{right:8.1%}{also:10.1%}{far:8.3f}{farther:8.3f}"]
        plots.save_figure(folder / f"{name}.png", figure, dpi=90)
    (folder / "table.txt").write_text("\n".join(lines) + "\n")
    print(*lines, f"See {folder}.", sep="\n")


def ways_to_learn(sigma: float) -> dict[str, Callable]:
    """loss(network, x, labels, done), where x are points of [0, 1]² as pictures"""

    def as_ever(network, x, labels, done):
        return ops.cross_entropy(on_pictures(network)(x), labels)

    def from_noise(network, x, labels, done):
        return as_ever(network, x + sigma * randn(x.shape), labels, done)

    attacks = partial(adversarial_loss, eps=0.7 * sigma, steps=5, step=0.5)
    slope = partial(gradient_penalty_loss, weight=0.02)
    return {"as ever": as_ever, "noise": from_noise, "attacks": attacks, "small slope": slope}


def pictures(x: np.ndarray) -> np.ndarray:
    """Points (N, 2) as pictures of two pixels, (N, 1, 1, 2)"""
    return x.reshape(-1, 1, 1, 2).astype(np.float32)


def learned(loss: Callable, x: np.ndarray, y: np.ndarray, args):
    """A network that has learned from all points at once, so many times"""
    td.seed(args.seed)
    layers = [nn.Flatten(), nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()]
    network = nn.Sequential(
        *layers, nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1 + y.max())
    )
    optimiser, x = optim.Adam(network.parameters(), lr=LR), asarray(pictures(x))
    for step in range(args.steps):
        optimiser.lr = LR * (1 - step / args.steps)
        optimiser.zero_grad()
        loss(network, x, y, (step + 1) / args.steps).backward()
        optimiser.step()
    return on_pictures(network)


def draw(axes, found: Map, x: np.ndarray, y: np.ndarray) -> float:
    """The map, the points and their ways to the nearest other place; their mean length"""
    ahead = [found.ahead(k) for k in range(found.shares.shape[-1])]
    plots.draw_map(axes, found.u, found.v, found.coloured(COLOURS), ahead)
    other = found.nearest_other(x, y)
    axes.plot(*np.stack([x, other], axis=1).T, color="black", alpha=0.35, linewidth=0.6)
    axes.scatter(*x.T, s=20, c=COLOURS[y], edgecolors="white", linewidths=0.7, zorder=3)
    axes.set(xticks=[], yticks=[])
    return np.nanmean(np.hypot(*(x - other).T))


def parse_arguments():
    options = parser(__doc__, "--seed", "--out")
    options.add_argument("--only", choices=list(TOYS), help="one of them (without: all)")
    options.add_argument("--points", type=whole(8), default=120, help="to learn from")
    options.add_argument("--steps", type=whole(1), default=1500, help="of training")
    text = "deviation of the noise that smooths (without: 0.08; of spirals 0.04)"
    options.add_argument("--sigma", type=number(above=0, most=1), help=text)
    return options.parse_args()


if __name__ == "__main__":
    run(main)
