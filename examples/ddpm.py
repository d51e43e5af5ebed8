"""Train a diffusion model that draws digits, clothes, or your own pictures.

    python examples/ddpm.py --data digits              a few minutes, no download
    python examples/ddpm.py --data mnist               the recipe of the README
    python examples/ddpm.py --data PATH/TO/PICTURES    one sub-folder a class, or none
    python examples/ddpm.py --prediction eps --schedule linear --weighting min_snr --name compare

Writes to runs/NAME/ (by default the name of the data): samples.png (one row a class),
denoising.gif, forward.png, loss.png, the log and the checkpoint.  The same command again goes on
where it stopped.

The recipe predicts v on a cosine schedule, with a simple loss; options say otherwise.
"""

import itertools
import zlib
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, plots
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.diffusion import Pipeline
from tinydiff.diffusion.parametrisation import TARGET
from tinydiff.diffusion.schedule import SCHEDULES
from tinydiff.diffusion.weights import WEIGHTINGS
from tinydiff.training import minutes, one_cycle_trainer, save_loss, train

# The stem turns 2×2 pixels into channels: a quarter of the pixels, four or five times the speed.
GREY = {
    "unet": dict(
        base_channels=64,
        channel_mults=(1, 2),
        num_res_blocks=1,
        attention_levels=(1,),
        resample="transpose",
        norm_groups=8,
        patch=2,
    ),
    "lr": 2e-3,
    "flip": False,
}
COLOUR = {
    "unet": dict(
        base_channels=64,
        channel_mults=(1, 2, 2),
        resample="transpose",
        norm_groups=16,
        patch=2,
    ),
    "lr": 1e-3,
    "flip": True,
}
DATA = {  # name: (how to load it, recipe, images a step, steps)
    "digits": (data.digits, GREY, 16, 1200),
    "mnist": (data.mnist, GREY, 32, 7600),
    "fashion-mnist": (data.fashion_mnist, GREY, 32, 7600),
    "cifar10": (data.cifar10, COLOUR, 32, 8000),
}


def main() -> None:
    args = parse_arguments()
    plots.require()
    td.seed(args.seed)
    own = (lambda: own_pictures(args), COLOUR, 32, 8000)
    load, recipe, batch, steps = DATA.get(args.data, own)
    folder = run_folder(args, data.short_name(args.data, DATA))
    dataset = load()
    if args.guidance is not None and not dataset.classes:
        raise ValueError(
            f"--guidance: {args.data} has no sub-folders, so there are no classes to guide to"
        )
    steps = args.steps or steps
    every = args.every or -(-steps // 3)
    batch = min(batch, len(dataset))
    settings = {
        "data": dataset.name,
        "images": [len(dataset), zlib.crc32(dataset.images)],  # another folder, another run
        "image": dataset.images.shape[1:],
        "classes": dataset.classes,
        "schedule": (args.schedule, 1000),
        "prediction": args.prediction,
        # Older runs do not have these three, which is as good as None: they can be gone on with.
        "weighting": None if args.weighting == "simple" else args.weighting,
        "learned_variance": args.learned_variance or None,
        "zero_terminal_snr": args.zero_terminal_snr or None,
        "seed": args.seed,
        "batch": batch,
        "steps": steps,
        **recipe,
    }
    pipeline = Pipeline(settings)
    model, diffusion = pipeline.model, pipeline.diffusion
    trainer = one_cycle_trainer(
        model,
        lambda x, y: diffusion.training_loss(model, x, cond=y, weighting=args.weighting),
        data.Batches(dataset, batch, seed=args.seed, flip=recipe["flip"]),
        lr=recipe["lr"],
        steps=steps,
        averaged=5,
        clip=1.0,
    )
    print(f"{dataset.name}: {len(dataset)} images, {model.num_parameters():,} parameters")
    for record in train(trainer, steps, folder, settings=settings):
        if record.step % every == 0 and record.step < steps:
            with trainer.ema.swapped():
                draw_samples(pipeline, folder / f"samples-{record.step}.png", args, rows=2)
    print(f"trained {minutes(folder, batch):.1f} minutes, up to step {trainer.step}")
    with trainer.ema.swapped():
        draw_samples(pipeline, folder / "samples.png", args)
        draw_denoising(pipeline, folder / "denoising.gif", args)
    draw_forward(diffusion, dataset, folder / "forward.png", args.seed)
    save_loss(folder, f"{dataset.name}: training loss")
    print(f"See samples.png, denoising.gif, forward.png and loss.png in {folder}.")
    print(f"Draw more: python examples/sample.py {folder / 'checkpoint.npz'}")


def own_pictures(args) -> data.Dataset:
    """The pictures in the folder that --data names."""
    if not Path(args.data).expanduser().is_dir():
        known = ", ".join(DATA)
        raise ValueError(f"--data is {args.data!r}, expected {known}, or a folder of pictures")
    patch, halvings = COLOUR["unet"]["patch"], len(COLOUR["unet"]["channel_mults"]) - 1
    multiple = patch * 2**halvings
    if args.size % multiple:
        raise ValueError(
            f"--size is {args.size}, expected a multiple of {multiple}: "
            f"the network takes {patch}×{patch} pixels for one and halves that {halvings} times"
        )
    return data.image_folder(args.data, args.size)


def labels_by_row(pipeline: Pipeline, columns: int, rows: int | None):
    """How many pictures, and their labels: one row a class, at most ``rows`` rows."""
    count = len(pipeline.classes) or 10
    labels = np.repeat(np.arange(count), columns)[: None if rows is None else rows * columns]
    return (len(labels), labels) if pipeline.classes else (len(labels), None)


def draw_samples(pipeline: Pipeline, path: Path, args, rows: int | None = None) -> None:
    count, labels = labels_by_row(pipeline, 10, rows)
    drawn = pipeline.draw(count, labels, progress=rows is None, **sampling(args, labels))
    images.save_png(path, images.grid(drawn, columns=10), scale=2)


def draw_denoising(pipeline: Pipeline, path: Path, args) -> None:
    count, labels = labels_by_row(pipeline, 4, None)
    steps = pipeline.denoising(count, labels, **sampling(args, labels))
    frames = [
        images.grid(images.to_uint8(to_numpy(x)), columns=8)
        for x in itertools.islice(steps, 1, None, 2)  # every other one, the last included
    ]
    images.save_gif(path, frames, fps=10, scale=2)


def sampling(args, labels) -> dict:
    usual = 1.0 if labels is None else 3.0
    guidance = usual if args.guidance is None else args.guidance
    rng = np.random.default_rng(args.seed)
    return {"sampler": "ddpm", "steps": 50, "guidance": guidance, "rng": rng}


def draw_forward(diffusion, dataset: data.Dataset, path: Path, seed: int) -> None:
    """Rows of pictures on their way to noise, x_0 on the left, x_T on the right."""
    moments = np.linspace(0, diffusion.schedule.T - 1, 12).round().astype(int)
    x0 = asarray(images.to_float(dataset.images[:6]))
    noise = randn(x0.shape, rng=np.random.default_rng(seed))
    columns = [diffusion.q_sample(x0, np.full(len(x0), t), noise) for t in moments]
    table = images.side_by_side([images.to_uint8(to_numpy(x)) for x in columns])
    images.save_png(path, table, scale=2)


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="the data's")
    known = ", ".join(DATA)
    options.add_argument("--data", default="digits", help=f"{known}, or a folder of pictures")
    options.add_argument("--size", type=whole(1), default=32, help="side of a folder's pictures")
    options.add_argument("--steps", type=whole(1), help="training steps (default: the recipe's)")
    options.add_argument("--prediction", default="v", choices=list(TARGET), help="the target")
    options.add_argument("--schedule", default="cosine", choices=list(SCHEDULES), help="of noise")
    options.add_argument("--zero-terminal-snr", action="store_true", help="nothing of x_0 in x_T")
    weightings = ["simple", *WEIGHTINGS]
    options.add_argument("--weighting", default="simple", choices=weightings, help="of the steps")
    options.add_argument("--learned-variance", action="store_true", help="by the hybrid loss")
    options.add_argument("--guidance", type=number(), help="default: 3 where there are classes")
    options.add_argument(
        "--every", type=whole(1), help="steps between sample grids (default: a third)"
    )
    return options.parse_args()


if __name__ == "__main__":
    run(main)
