"""How many bits does a trained diffusion model need for a picture it has not seen?

    python examples/likelihood.py runs/mnist/checkpoint.npz

Prints, in bits per dimension, the terms of the variational bound: L_T (what is left of the picture
in pure noise), Σ L_{t−1} (the steps of undoing the noise), L_0 (the bytes), and beside their sum
the exact likelihood by the probability-flow ODE.  Each is an average over test images, with its
standard error.  A conditional model is told the true labels.  The two are of different models of
a byte: the ODE's density is that of x at t = 0, whose little noise pixels that are plain black do
not have, and of dequantised bytes; L_0 has open bins at black and white.  Either may be lower.

Writes runs/likelihood-NAME/terms.png: where in time the bits are.
"""

from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinydiff import data, images, plots
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.diffusion import GaussianDiffusion, Pipeline
from tinydiff.diffusion.likelihood import every_bound, prior_bits
from tinydiff.diffusion.ode_likelihood import bits_of_bytes, dequantised, ode_log_likelihood

DATA = data.LABELLED
BATCH = 32


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder = run_folder(args, f"likelihood-{args.checkpoint.resolve().parent.name}")
    pipeline = Pipeline.load(args.checkpoint)
    pipeline.model.eval().requires_grad_(False)
    dataset = test_images(pipeline, args.data)
    x0 = images.to_float(dataset.images[: args.images])
    cond = dataset.labels[: args.images] if pipeline.classes else None
    told = "told no labels" if cond is None else "told their labels"
    print(f"{dataset.name}: {len(x0)} images, {told}; bits per dimension")

    prior, terms = bound(pipeline, x0, cond, args)
    steps = "1 step" if len(terms) == 2 else f"{len(terms) - 1} steps"
    report("L_T", prior)
    report(f"Σ L_(t−1), {steps}", terms[1:].sum(axis=0))
    report("L_0", terms[0])
    report("bound: their sum", prior + terms.sum(axis=0))
    exact, coarse = ode(pipeline, x0, cond, args)
    report("exact, by the ODE", exact.mean(axis=1))
    if args.probes > 1:
        error = np.sqrt(exact.var(axis=1, ddof=1).mean() / exact.size)
        print(f"  of which probes ± {error:.4f}")
    print(f"  with ten times the tolerance {abs(exact.mean() - coarse.mean()):.4f} off")
    draw(folder / "terms.png", prior, terms, exact.mean(), dataset.name)
    print(f"See terms.png in {folder}.")


def test_images(pipeline: Pipeline, wanted: str | None) -> data.Dataset:
    """Pictures like those the model has learned from."""
    name = wanted or pipeline.settings["data"].rpartition("-")[0]
    if name in DATA:
        dataset = DATA[name]("test")
    elif wanted and Path(wanted).is_dir():
        dataset = data.image_folder(wanted, pipeline.image[0])
    else:
        raise ValueError(
            f"--data is {wanted}: expected {', '.join(DATA)}, or a folder of pictures, such as "
            "the model was trained on"
        )
    if dataset.images.shape[1:] != pipeline.image or dataset.classes != pipeline.classes:
        raise ValueError(
            f"{dataset!r} does not fit the model, which knows pictures {pipeline.image} "
            f"of {len(pipeline.classes)} classes"
        )
    return dataset


def bound(pipeline: Pipeline, x0, cond, args) -> tuple[np.ndarray, np.ndarray]:
    """L_T (N,), and L_{t−1} or L_0 at every t (T, N)."""
    whole = pipeline.diffusion
    schedule = whole.schedule.respaced(args.steps or whole.schedule.T)
    process = GaussianDiffusion(schedule, whole.prediction, learned_variance=whole.learned_variance)
    rng, parts = np.random.default_rng(args.seed), []
    for x, y in batches(x0, cond):
        terms = every_bound(pipeline.model, process, x, y, variance=args.variance, rng=rng)
        bits = [b for _, b in tqdm(terms, "bound", schedule.T, unit="step")]
        parts.append(to_numpy(xp.stack(bits[::-1])).astype(np.float64))
    return prior_bits(schedule, asarray(x0)), np.concatenate(parts, axis=1)


def ode(pipeline: Pipeline, x0, cond, args) -> list[np.ndarray]:
    """Bits (N, probes) with the tolerance asked for, and with ten times as much."""
    bits = []
    for tolerance in (args.tolerance, 10 * args.tolerance):
        rng, parts = np.random.default_rng(args.seed), []
        settings = dict(probes=args.probes, rtol=tolerance, atol=tolerance, rng=rng)
        look = dict(total=len(x0), unit="image", unit_scale=True)
        with tqdm(desc=f"ODE, {tolerance:.0e}", **look) as bar:
            for x, y in batches(x0, cond):
                watch = partial(advance, bar, bar.n, len(x))
                x, whole = dequantised(x, rng=rng), (pipeline.model, pipeline.diffusion)
                parts.append(ode_log_likelihood(*whole, x, y, watch=watch, **settings))
        bits.append(bits_of_bytes(np.concatenate(parts), x0[0].size))
    return bits


def advance(bar: tqdm, before: float, size: int, share: float) -> None:
    """A share of a batch is done: as much as that share of its pictures."""
    bar.update(before + share * size - bar.n)


def batches(x0, cond):
    for start in range(0, len(x0), BATCH):
        part = slice(start, start + BATCH)
        yield asarray(x0[part]), None if cond is None else cond[part]


def report(name: str, bits: np.ndarray) -> None:
    many = len(bits) > 1
    error = f"± {bits.std(ddof=1) / np.sqrt(len(bits)):.4f}" if many else "(one image: no error)"
    print(f"{name:<24} {bits.mean():8.4f} {error}")


def draw(path: Path, prior: np.ndarray, terms: np.ndarray, exact: float, name: str) -> None:
    """Each term over t, and the bits known so far on the way from noise to the picture."""
    figure = plots.new_figure(11, 4.2)
    left, right = figure.subplots(1, 2)
    t = np.arange(1, len(terms) + 1)
    mean, (low, high) = terms.mean(axis=1), np.quantile(terms, [0.1, 0.9], axis=1)
    left.fill_between(t[1:], low[1:], high[1:], alpha=0.25, label="8 of 10 images")
    marker = "." if len(t) < 30 else None  # of two steps, there is a single one to see
    left.plot(t[1:], mean[1:], marker=marker, label="$L_{t-1}$")
    left.plot(t[:1], mean[:1], "o", color="C3", label="$L_0$, the bytes")
    left.plot(t[-1:], prior.mean(), "s", color="C2", label="$L_T$, left in pure noise")
    left.set(xscale="log", yscale="log", xlabel="t, steps of noise", ylabel="bits per dimension")
    left.set(title="each term of the bound")
    known = prior.mean() + np.cumsum(mean[::-1])[::-1]
    right.plot(t, known, marker=marker, color="C0", label="terms from T down to t")
    right.axhline(known[0], color="C3", linewidth=1, label=f"bound {known[0]:.3f}")
    right.axhline(exact, color="C1", linewidth=1, linestyle="--", label=f"ODE {exact:.3f}")
    right.set(xscale="log", xlabel="t, steps of noise", ylabel="bits per dimension", ylim=(0, None))
    right.set(title=f"their sum, {name}")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(loc="lower left")
    right.legend(loc="center right")
    plots.save_figure(path, figure)


def parse_arguments():
    options = parser(__doc__, "checkpoint", "--seed", "--out")
    options.add_argument("--images", type=whole(1), default=32, help="how many test images")
    options.add_argument("--data", help="default: what the model was trained on; or a folder")
    options.add_argument("--steps", type=whole(2), help="the bound in fewer steps (default: all)")
    variances = ["posterior", "beta"]
    options.add_argument("--variance", default="posterior", choices=variances, help="of the steps")
    options.add_argument("--probes", type=whole(1), default=2, help="of the ODE's divergence")
    options.add_argument("--tolerance", type=number(0, most=0.01), default=1e-4, help="of the ODE")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
