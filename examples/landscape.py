"""Six ways to learn a distribution, side by side: on points in the plane, and on 16×16 digits.

    python examples/landscape.py

A variational autoencoder, a generative adversarial network, an energy-based model, an
autoregressive one, a normalising flow and a diffusion model, each trained for about a minute; a
point is a picture of two pixels.  Likelihoods are those of bytes of test data, in bits per
dimension; "bound": no more than that many.  Each model has a folder in runs/landscape/ and is not
trained again there, so the second time the sheet is there at once.  Writes to runs/landscape/:

landscape.png   a row for each model: points over the true density, digits, and what they cost
table.txt       the numbers
"""

from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, plots
from tinydiff.backend import asarray, to_numpy
from tinydiff.commandline import number, parser, run, run_folder
from tinydiff.diffusion.likelihood import bits_per_dim
from tinydiff.diffusion.mixture import GaussianMixture
from tinydiff.diffusion.ode_likelihood import bits_of_bytes
from tinydiff.files import replacing
from tinydiff.generative.build import BUILD, PLANE, RECIPES, trainer_of
from tinydiff.training import minutes, train

DATA = data.MNIST_LIKE
ARC = np.linspace(0, np.pi, 16)
MOON = np.stack([np.cos(ARC) - 0.5, np.sin(ARC) - 0.25], axis=1) / 1.75
MOONS = GaussianMixture(np.ones(32), np.concatenate([MOON, -MOON]), 0.05)
TESTED, POINTS, DIGITS = 500, 2000, 20  # pictures with a likelihood; points and digits drawn
EDGE, INK = 1.1, "#c8431a"  # of the plane: shown up to there; colour of points

IDEAS = {
    "vae": "codes z that a network guesses:\n$\\ln p \\geq E_q \\ln p(x|z) - KL(q\\,\\|\\,N)$",
    "gan": "draws what a critic\ntakes for real",
    "energy": "$P(x) = e^{-E(x)} / Z$,\ndrawn by Langevin's walk",
    "autoregressive": "pixel by pixel:\n$P(x) = \\prod_i P(x_i\\,|\\,x_1 … x_{i-1})$",
    "flow": "invertible, $z = f(x)$:\n$\\ln p = \\ln N(z) + \\ln|\\det \\partial f/\\partial x|$",
    "diffusion": "adds noise in small steps,\nand learns to undo them",
}


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder = run_folder(args, "landscape")
    digits, tests = (halved(args.data, DATA[args.data](split)) for split in ("train", "test"))
    sets = (points(50_000, 0), points(TESTED, 1)), (digits, tests)
    rows = {}
    for kind in args.models:
        pairs = zip(RECIPES[kind], sets, strict=True)
        rows[kind] = [learned(kind, recipe, *pair, folder, args) for recipe, pair in pairs]
    x = images.to_float(sets[0][1].images).reshape(-1, 2)
    best = float(bits_of_bytes(to_numpy(MOONS.log_density(asarray(x))), 2).mean())
    table = "\n".join(lines(rows, best))
    with replacing(folder / "table.txt") as file:
        file.write(f"{table}\n".encode())
    draw(folder / "landscape.png", rows, best, sets)
    print(f"{table}\nSee landscape.png and table.txt in {folder}.")


def points(count: int, seed: int) -> data.Dataset:
    """Points of two moons, as pictures of two pixels"""
    x = to_numpy(MOONS.sample(count, rng=np.random.default_rng(seed), dtype=np.float32))
    return data.Dataset("moons", images.to_uint8(x).reshape(count, *PLANE))


def halved(name: str, dataset: data.Dataset) -> data.Dataset:
    """28×28 pictures, with two black pixels around them, at half the size: 16×16"""
    padded = np.pad(dataset.images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    squares = padded.reshape(len(padded), 16, 2, 16, 2, 1).mean(axis=(2, 4), dtype=np.float32)
    return data.Dataset(name, np.rint(squares).astype(np.uint8))


def learned(kind: str, recipe: tuple, dataset, test, folder: Path, args) -> dict:
    """What the model can do once it is trained; from its folder, if that is known there."""
    batch, lr, steps = recipe
    steps, place = max(1, round(steps * args.effort)), folder / f"{dataset.name}-{kind}"
    settings = dict(model=kind, data=dataset.name, batch=batch, lr=lr, steps=steps, seed=args.seed)
    if (place / "measured.npz").exists():
        found = td.load(place / "measured.npz")
        if found["settings"] == settings:
            return found
    td.seed(args.seed)
    model = BUILD[kind](dataset.images.shape[1:])
    print(f"{kind}, {dataset.name}: {model.num_parameters():,} parameters", flush=True)
    trainer = trainer_of(model, data.Batches(dataset, batch, seed=args.seed), lr, steps)
    for _ in train(trainer, steps, place, settings=settings, save_every=500):
        pass
    with trainer.ema.swapped():
        model.eval()
        found = measured(model, test, np.random.default_rng(args.seed))
    found |= dict(settings=settings, minutes=minutes(place, batch))
    td.save(place / "measured.npz", found)
    return found


def measured(model, test: data.Dataset, rng) -> dict:
    drawn = model.sample(POINTS if model.shape == PLANE else DIGITS, rng=rng)
    found = dict(samples=images.to_uint8(to_numpy(drawn)), kind=model.likelihood)
    found |= dict(parameters=model.num_parameters(), evaluations=model.evaluations)
    if model.likelihood:
        x = images.to_float(test.images[:TESTED])
        parts = [model.log_likelihood(x[i : i + 100], rng=rng) for i in range(0, len(x), 100)]
        bits = -bits_per_dim(np.concatenate(parts), model.size)
        found |= dict(bits=bits.mean(), error=bits.std(ddof=1) / len(bits) ** 0.5)
    return found


def cost(found: dict) -> str:
    """Bits of a model and their kind"""
    if not found["kind"]:
        return "no likelihood"
    return f"{found['bits']:.3f} ± {found['error']:.3f} {found['kind']}"


def lines(rows: dict, best: float):
    heads = f"{'minutes':>7} {'parameters':>10} evaluations"
    yield f"{'model':<15} {'data':<14} {'bits/dim':<22} {heads}"
    yield f"{'the truth':<15} {'moons':<14} {best:.3f}"
    for kind, two in rows.items():
        for found in two:
            yield (
                f"{kind:<15} {found['settings']['data']:<14} {cost(found):<22} "
                f"{found['minutes']:7.1f} {found['parameters']:10,} {found['evaluations']:11}"
            )


def draw(path: Path, rows: dict, best: float, sets) -> None:
    """The data, and a row for each model"""
    figure = plots.new_figure(13, 2 * (1 + len(rows)))
    panels = figure.subplots(1 + len(rows), 4, width_ratios=[2.3, 2, 5, 3.1], squeeze=False)
    truth = [s[1].images[:count] for s, count in zip(sets, (TESTED, DIGITS), strict=True)]
    told = f"points: {best:.3f} bits/dim, exact"
    draw_row(panels[0], "data", "what they learn from", *truth, told)
    for row, (kind, two) in zip(panels[1:], rows.items(), strict=True):
        told = "\n".join(
            f"{name}: {cost(found)}\n   {found['minutes']:.1f} min, {found['parameters']:,} "
            f"parameters,\n   evaluations for one: {found['evaluations']}"
            for name, found in zip(("points", "digits"), two, strict=True)
        )
        draw_row(row, kind, IDEAS[kind], *(found["samples"] for found in two), told)
    plots.save_figure(path, figure)


def draw_row(row, name: str, idea: str, xy: np.ndarray, digits: np.ndarray, told: str) -> None:
    """What it is called, points over the true density, digits, and what is to be said"""
    left, plane, right, last = row
    for axes in (left, right, last):
        axes.axis("off")
    left.text(0, 0.68, name, fontsize=15, weight="bold", va="center")
    left.text(0, 0.5, idea, fontsize=10, va="top")
    last.text(0, 0.5, told, fontsize=10, va="center")
    plots.draw_points(plane, images.to_float(xy).reshape(-1, 2), density, EDGE, colours=INK)
    plane.set(xticks=[], yticks=[])
    right.imshow(images.grid(digits, 10)[..., 0], cmap="gray", vmin=0, vmax=255)


def density(points: np.ndarray) -> np.ndarray:
    return np.exp(to_numpy(MOONS.log_density(asarray(points))))


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="landscape")
    options.add_argument("--data", default="digits", choices=list(DATA), help="the pictures")
    kinds = list(RECIPES)
    options.add_argument("--models", nargs="+", default=kinds, choices=kinds, help="which of them")
    options.add_argument("--effort", type=number(0), default=1.0, help="1: steps of the recipes")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
