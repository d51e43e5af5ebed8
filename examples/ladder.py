"""A ladder of denoisers: down, each layer adds noise or halves the picture too; up, each undoes it.

    python examples/ladder.py                    the built-in digits, a few minutes, no download
    python examples/ladder.py --data mnist
    python examples/ladder.py --rungs 1 --name halving
                                                 each layer halves, as in the lecture's picture:
                                                 the digits come out smooth and alike

Writes to runs/NAME/ (ladder-DATA by default): samples.png (one row a class), ladder.png (digits on
their way down to noise, and from there up to new ones of their class) and ladder.gif (the same as a
film), loss.png, the log and the checkpoint.  The same command again goes on where it stopped.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinydiff as td
from tinydiff import data, images, plots
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.diffusion import Ladder, ladder_decoder, sample_ladder
from tinydiff.models import LadderDecoders
from tinydiff.training import minutes, one_cycle_trainer, save_loss, train

SIZE, PAD, HALVINGS = 32, 2, 3  # 28×28 padded all around; z_0 is 4×4
NET = {"base_channels": 32, "norm_groups": 8}
LR = 3e-3
MOST_RUNGS = 100  # 300 layers: the 600 frames of ladder.gif take 75 seconds
DATA = {  # name: (how to load it, images a step, steps)
    "digits": (data.digits, 16, 1200),
    "mnist": (data.mnist, 32, 2800),
    "fashion-mnist": (data.fashion_mnist, 32, 2800),
}


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder = run_folder(args, f"ladder-{args.data}")
    td.seed(args.seed)
    load, batch, usual = DATA[args.data]
    dataset, steps = load(), args.steps or usual
    settings = {
        "data": dataset.name,
        "ladder": {"size": SIZE, "halvings": HALVINGS, "rungs": args.rungs},
        "net": {**NET, "num_classes": len(dataset.classes)},
        "lr": LR,
        "batch": batch,
        "steps": steps,
        "seed": args.seed,
    }
    ladder = Ladder(**settings["ladder"])
    model = LadderDecoders(1, ladder.sizes, **settings["net"])
    trainer = one_cycle_trainer(
        model,
        lambda x, y: ladder.training_loss(model, x, cond=y),
        data.Batches(dataset, batch, seed=args.seed, pad=PAD),
        lr=LR,
        steps=steps,
        averaged=5,
        clip=1.0,
    )
    sides = " → ".join(map(str, np.unique(ladder.sizes)))
    print(f"{dataset.name}: {len(dataset)} images, {model.num_parameters():,} parameters")
    print(f"{ladder.T} layers, {sides}")
    for _ in train(trainer, steps, folder, settings=settings):
        pass
    print(f"trained {minutes(folder, batch):.1f} minutes, up to step {trainer.step}")
    with trainer.ema.swapped():
        model.eval()
        draw_samples(model, ladder, folder, args)
        draw_ladder(model, ladder, dataset, folder, args)
    save_loss(folder, f"{dataset.name}: training loss")
    print(f"See samples.png, ladder.png, ladder.gif and loss.png in {folder}.")


def climb(what: str, model, ladder: Ladder, z_0, labels, args, rng) -> list[np.ndarray]:
    """z_0 … z_T of new pictures with these labels (N,), as bytes at full size"""
    decode = ladder_decoder(model, ladder, labels, scale=args.guidance)
    levels = tqdm(sample_ladder(decode, z_0, ladder, rng=rng), what, ladder.T, unit="layer")
    return [full_size(z) for z in (z_0, *levels)]


def draw_samples(model, ladder: Ladder, folder: Path, args) -> None:
    rng, side = np.random.default_rng(args.seed), int(ladder.sizes[0])
    labels = np.repeat(np.arange(model.num_classes), 10)
    noise = randn((len(labels), side, side, 1), rng=rng)
    *_, pictures = climb("samples.png", model, ladder, noise, labels, args, rng)
    images.save_png(folder / "samples.png", images.grid(pictures, columns=10), scale=2)


def draw_ladder(model, ladder: Ladder, dataset: data.Dataset, folder: Path, args) -> None:
    """Four pictures of each class go down to noise, and from that noise new ones come up."""
    labels = np.repeat(np.arange(model.num_classes), 4)
    rng = np.random.default_rng(args.seed)
    chosen = [np.flatnonzero(dataset.labels == label)[:4] for label in np.unique(labels)]
    chosen = data.Dataset("chosen", dataset.images[np.concatenate(chosen)])
    x, _ = next(data.ordered(chosen, len(labels), pad=PAD))
    z = asarray(x)
    down = [full_size(z)]
    for t in range(ladder.T, 0, -1):
        side = int(ladder.sizes[t - 1])
        z = ladder.down(z, t, randn((len(z), side, side, 1), rng=rng))
        down.append(full_size(z))
    up = climb("ladder.png", model, ladder, z, labels, args, rng)
    frames = [images.grid(level, columns=8) for level in down + up[1:]]
    images.save_gif(folder / "ladder.gif", frames, fps=8, hold=2, scale=2)
    shown = np.unique(np.linspace(0, ladder.T, 9).round().astype(int))
    columns = [down[i] for i in shown] + [up[i] for i in shown[1:]]
    table = images.side_by_side([level[::4] for level in columns])
    images.save_png(folder / "ladder.png", table, scale=2)


def full_size(z) -> np.ndarray:
    """Pictures of any level as bytes (N, SIZE, SIZE, C): each pixel becomes a square."""
    scale = SIZE // z.shape[1]
    return images.to_uint8(to_numpy(z)).repeat(scale, axis=1).repeat(scale, axis=2)


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="ladder-DATA")
    options.add_argument("--data", default="digits", choices=list(DATA), help="to learn from")
    rungs = whole(1, MOST_RUNGS)
    options.add_argument("--rungs", type=rungs, default=8, help="layers a size, each a GIF frame")
    options.add_argument("--steps", type=whole(1), help="training steps (default: the recipe's)")
    options.add_argument("--guidance", type=number(), default=2.0, help="1: plain conditional")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
