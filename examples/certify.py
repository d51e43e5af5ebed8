"""Certify a classifier: how far around a picture does no attack at all change what it says?

    python examples/certify.py --data mnist
    python examples/certify.py --data PATH/TO/PICTURES                    one sub-folder a class
    python examples/certify.py --checkpoint runs/noise-0.25-mnist/checkpoint.npz --image my.png

For each σ of --noise a network learns from pictures with such noise (black is 0, white is 1), and
is asked what it sees in --draws noisy copies of each test picture.  The class it sees in most is
the answer; how many they are tells the radius (L2) within which that stays the answer, except with
probability 0.001; where they are hardly more than half, it abstains.  To compare with, the network
of examples/classify.py under an attack (PGD in L2): a better one may find what that misses.

Writes to runs/NAME/ (certify-DATA by default): table.txt; certified.png (which share of pictures is
right for certain within which radius); noisy.png (for each σ some test pictures, from the least
certain on, with answer and radius, and what the network sees in noisy copies).  The networks are
runs of their own, runs/noise-σ-DATA/, trained if they are not there; the same command again goes on
where it stopped.  With --image it tells of your picture; MY-noisy.png lies beside the checkpoint.
"""

from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import adversarial, data, images, plots
from tinydiff.adversarial import ABSTAIN, Certificates, Smoothed, noisy_copies
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.metrics import Recogniser, judge_of, judge_recipe, train_classifier

DATA = data.LABELLED
NOISE = [0.25, 0.5]
LONGER = 2  # times as many passes over the data as without noise
RADII = 0.25, 0.5, 0.75, 1.0, 1.5
STEPS = 20  # of PGD
SHOWN = 4  # pictures of noisy.png


def main() -> None:
    args = parse_arguments()
    if args.image:
        certify_own(args)
        return
    plots.require()
    name = data.short_name(args.data, DATA)
    folder = run_folder(args, f"certify-{name}")
    train_set, test_set = data.train_and_test(args.data, DATA, args.size)
    x, y = adversarial.first_pictures(test_set, args.count)
    undefended = adversarial.on_pictures(judge_of(train_set, args.out / f"classify-{name}"))
    nets = [learned(train_set, s, args.out / f"noise-{s:g}-{name}", args.seed) for s in args.noise]
    found = [certified(smoothed, x, args) for smoothed in nets]
    least_first = np.argsort(found[0].radii, kind="stable")
    shown = least_first[np.linspace(0, len(x) - 1, SHOWN).round().astype(int)]
    sheets = []
    for smoothed, its in zip(nets, found, strict=True):
        its, rng = Certificates(*(of[shown] for of in its)), np.random.default_rng(args.seed)
        sheets.append(noisy_copies(smoothed, x[shown], its, test_set.classes, rng=rng))
    images.save_png(folder / "noisy.png", np.concatenate(sheets))
    right = attacked(undefended, x, y, np.random.default_rng(args.seed))
    save_curves(folder / "certified.png", args.noise, found, y, right)
    lines = [row(f"{len(x)} pictures: right within", "8g", [0, *RADII]) + "  abstains"]
    lines += [row("undefended: under PGD", "8.1%", right)]
    for sigma, its in zip(args.noise, found, strict=True):
        shares = [*(its.accuracy(y, r) for r in (0, *RADII)), np.mean(its.classes == ABSTAIN)]
        lines += [row(f"σ {sigma:g}: for certain", "8.1%", shares)]
    (folder / "table.txt").write_text("\n".join(lines) + "\n")
    print(*lines, f"See {folder}.", sep="\n")


def learned(train_set: data.Dataset, sigma: float, folder: Path, seed: int) -> Smoothed:
    """The network that learned from noise, smoothed by the same; trained now if it is not there."""
    recipe = judge_recipe(train_set.images.shape[3])
    recipe["epochs"] *= LONGER
    td.seed(seed)
    print(f"σ {sigma:g}: {folder}")
    recogniser = train_classifier(train_set, folder, seed=seed, noise=sigma, **recipe)
    return Smoothed(adversarial.on_pictures(recogniser.model), sigma)


def certified(smoothed: Smoothed, x: np.ndarray, args) -> Certificates:
    rng = np.random.default_rng(args.seed)
    return smoothed.certify(x, draws=args.draws, rng=rng, progress=f"σ {smoothed.sigma:g}")


def attacked(model, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> list[float]:
    """The share that the network sees rightly without an attack, and within each of RADII."""
    seen = [adversarial.classes_seen(model, x)]
    for eps in RADII:
        settings = {"eps": eps, "norm": 2, "steps": STEPS, "rng": rng, "progress": f"PGD, {eps:g}"}
        seen.append(adversarial.carried_out(adversarial.pgd, model, x, y, **settings).seen)
    return [np.mean(each == y) for each in seen]


def row(what: str, form: str, numbers: list) -> str:
    return f"{what:<32}" + "".join(f"{number:{form}}" for number in numbers)


def save_curves(path: Path, noise: list[float], found: list[Certificates], y, right: list) -> None:
    """Which share of pictures is right within which radius: for certain, or under an attack."""
    figure = plots.new_figure(7, 4)
    axes = figure.subplots()
    for sigma, its in zip(noise, found, strict=True):
        r = np.linspace(0, its.radii.max() + 0.01, 500)
        axes.plot(r, [its.accuracy(y, each) for each in r], label=f"σ {sigma:g}: for certain")
    axes.plot((0, *RADII), right, "k--o", markersize=4, label=f"undefended: PGD, {STEPS} steps")
    axes.set(xlabel="radius in L2 (black is 0, white is 1)", ylabel="right, of the test pictures")
    axes.set(xlim=(0, max(RADII)), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    plots.save_figure(path, figure)


def certify_own(args) -> None:
    """How it is with a user's picture, by a network that learned from noise."""
    recogniser = Recogniser.load(args.checkpoint)
    sigma = recogniser.settings.get("recipe", {}).get("noise")
    if sigma is None:
        raise ValueError(f"{args.checkpoint} learned without noise: train one with --data first")
    smoothed = Smoothed(adversarial.on_pictures(recogniser.model), sigma)
    x = images.to_float(recogniser.read(args.image)[None], (0, 1))
    its = certified(smoothed, x, args)
    if its.classes[0] == ABSTAIN:
        print(f"It abstains: no class is seen in surely more than half of {args.draws} copies.")
    else:
        print(f"{recogniser.classes[its.classes[0]]}, for certain {its.within(0)}.")
    path = args.checkpoint.with_name(f"{args.image.stem}-noisy.png")
    rng = np.random.default_rng(args.seed)
    images.save_png(path, noisy_copies(smoothed, x, its, recogniser.classes, rng=rng))
    print(f"See {path}.")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="certify-DATA")
    known = ", ".join(DATA)
    options.add_argument("--data", default="digits", help=f"{known}, or a folder of pictures")
    options.add_argument("--size", type=whole(8), default=32, help="side of a folder's pictures")
    options.add_argument("--noise", type=number(above=0), nargs="+", default=NOISE, help="each σ")
    options.add_argument("--count", type=whole(1), default=500, help="test pictures")
    options.add_argument("--draws", type=whole(1), default=1000, help="noisy copies of each")
    options.add_image("a picture to certify")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
