"""A cascade: a sentence becomes a picture of 16×16, that one of 32×32, and that one of 64×64.

    python examples/cascade.py "a red circle above a blue square" "two yellow crosses"
    python examples/cascade.py --unconditional
    python examples/cascade.py --evaluate

Sentences are those of examples/text_to_image.py, about fewer things: a COLOUR is red, yellow, green
or blue, a SHAPE circle, square, triangle or cross.  Given none, it shows some.  One pair of things
in five is held out of the training.  With --unconditional, nothing is said, and it draws what it
likes.

The first time, three diffusion models are trained, each for itself.  One draws 16×16 from a
sentence.  The others enlarge: beside their own noise they see the smaller picture, with noise on
it, too.  Stopped, the training goes on with the next call; once it is done, pictures take seconds.

Writes to runs/NAME/ (cascade by default): drawn.png, where each picture stands in its three sizes,
or unconditional.png; and in 16, 32 and 64 below it loss.png, the log and the checkpoint.
--evaluate draws sentences that are held out, measures in each picture which shapes of which colours
are where, and how well the sizes agree, and writes held-out.png.  What noise and thresholds are
for, examples/cascade_ablation.py shows; --plain is for it.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, plots, training, vision
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.data.tokens import words_of
from tinydiff.diffusion import Pipeline, SuperResolution, draw_cascade
from tinydiff.diffusion.cascade import shrunk

WORLD = dataclasses.replace(
    data.SIMPLE,
    shapes=("circle", "square", "triangle", "cross"),
    colours=("red", "yellow", "green", "blue"),
)
LONGEST = 8  # words
WORDS = words_of(WORLD.captions())
PAIRS = 15  # the seed of those held out; the first sentence here is one of them
SHOWN = (
    "a red circle above a blue square",
    "a yellow cross left of a green circle",
    "a green triangle below a red square",
    "a blue cross",
)
SIDES = 16, 32, 64
NETWORK = {"num_res_blocks": 1, "resample": "transpose", "norm_groups": 8, "num_heads": 4}
BASE = {"base_channels": 96, "channel_mults": (1,), "attention_levels": (0,), "patch": 2}
BASE |= {"coordinates": True}
LARGER = {"base_channels": 32, "channel_mults": (1, 2), "patch": 2}
TEXT = {"text": {"length": LONGEST, "width": 64, "depth": 2, "heads": 4}}
SCHEDULE = "cosine", 1000
FROM_NOISE = {"weighting": "clip_snr", "batch": 32, "lr": 1e-3}
ENLARGING = {"weighting": "min_snr", "batch": 16, "lr": 2e-3, "factor": 2, "augmentation": 0.25}
STAGES = {  # the last is told no words: it can see what is what
    16: {"unet": NETWORK | BASE | TEXT, "steps": 8000, **FROM_NOISE},
    32: {"unet": NETWORK | LARGER | TEXT | {"attention_levels": (1,)}, "steps": 4000, **ENLARGING},
    64: {"unet": NETWORK | LARGER | {"attention_levels": ()}, "steps": 1600, **ENLARGING},
}
TURNED = 0.6  # of the sentences with "right of" or "below", to make those words the exception
SAMPLING = (  # of each stage
    {"sampler": "ddpm", "steps": 50, "threshold": 0.95},
    {"sampler": "ddim", "steps": 12, "level": 0.1},
    {"sampler": "ddim", "steps": 12, "level": 0.1},
)


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder = run_folder(args, "cascade")
    if args.unconditional and (args.captions or args.evaluate):
        raise ValueError("--unconditional goes without sentences, and without --evaluate")
    captions = args.captions or SHOWN
    data.Tokenizer(WORDS, LONGEST).encode(captions)  # complain now, not when all is trained
    stages = [trained(folder, side, args) for side in SIDES]
    if args.plain:
        trained(folder, 32, args, plain=True)
    if args.unconditional:
        name, drawn = "unconditional.png", draw(stages, 6 * args.count, None, args)
        table = sheet(drawn, [""] * 6)
    else:
        asked = [caption for caption in captions for _ in range(args.count)]
        name, drawn = "drawn.png", draw(stages, len(asked), asked, args)
        table = sheet(drawn, captions)
    images.save_png(folder / name, table)
    print(f"See {name} in {folder}.")
    if args.evaluate:
        evaluate(stages, folder, args)


def draw(stages, count: int, captions, args) -> list[np.ndarray]:
    """Pictures of all stages."""
    first, *others = SAMPLING
    if captions is not None:
        first = {**first, "guidance": args.guidance}
    rng = np.random.default_rng(args.seed)
    settings = {"settings": [first, *others], "rng": rng, "progress": True}
    return draw_cascade(stages, count, captions, **settings)


def sheet(drawn: list[np.ndarray], rows) -> np.ndarray:
    """Each picture in all sizes, brought to the largest, a row for each sentence."""
    times = [SIDES[-1] // side for side in SIDES]
    alike = [x.repeat(k, axis=1).repeat(k, axis=2) for x, k in zip(drawn, times, strict=True)]
    table = np.stack(alike, axis=1).reshape(-1, *drawn[-1].shape[1:])
    columns = [f"{side} x {side}" for side in SIDES] * (len(drawn[0]) // len(rows))
    return images.labelled_grid(table, columns, rows)


def trained(folder: Path, side: int, args, *, plain: bool = False) -> Pipeline:
    """The stage that draws pictures of this side, trained to its end; plain: without noise."""
    recipe = STAGES[side] | ({"augmentation": 0.0} if plain else {})
    words = WORDS if "text" in recipe["unet"] else None
    settings = {"data": "shapes", "scenes": args.scenes, "pairs": PAIRS, "turned": TURNED}
    settings |= {"world": dataclasses.asdict(WORLD), "words": words, "classes": ()}
    settings |= {"image": (side, side, 3), "schedule": SCHEDULE, "prediction": "x0"}
    settings |= {**recipe, "steps": args.steps or recipe["steps"], "seed": args.seed}
    kind = SuperResolution if "factor" in recipe else Pipeline
    folder = folder / (f"{side}-plain" if plain else str(side))
    if not training.is_finished(folder, settings, whatever=["seed"]):
        td.seed(args.seed)
        train(kind(settings), folder)
    return kind.load(folder / "checkpoint.npz")


def train(pipeline: Pipeline, folder: Path) -> None:
    settings, dataset = pipeline.settings, scenes(pipeline.settings["scenes"])
    tokens = pipeline.tokenizer and pipeline.tokenizer.encode(dataset.classes)

    def loss(x, label):
        told = None if tokens is None else tokens[label]
        x = shrunk(x, SIDES[-1] // pipeline.image[0])
        return pipeline.training_loss(x, cond=told, weighting=settings["weighting"])

    print(f"{folder}: {pipeline.model.num_parameters():,} parameters, {len(dataset)} scenes")
    batches = data.Batches(dataset, min(settings["batch"], len(dataset)), seed=settings["seed"])
    title = "squared error of x_0, weighed"
    print(f"trained {training.complete(pipeline, loss, batches, folder, title=title):.1f} minutes")


@functools.cache
def scenes(count: int) -> data.Dataset:
    """What all stages learn from: each sentence is a class of pictures."""
    return data.told_scenes(count, side=SIDES[-1], world=WORLD, pairs=PAIRS, turned=TURNED)


def evaluate(stages, folder: Path, args) -> None:
    """How often is a sentence about things never seen together true of what is drawn?"""
    real = data.shapes("test", args.pictures, side=SIDES[-1], objects=2, world=WORLD)
    print(f"real scenes: {vision.what_is_so(real.images, real.captions, WORLD)}")
    _, new = data.pairs_of(WORLD, seed=PAIRS)
    new = np.random.default_rng(args.seed).choice(new, args.pictures).tolist()
    drawn = draw(stages, len(new), new, args)
    images.save_png(folder / "held-out.png", images.captioned_grid(drawn[-1][:24], new[:24], 6))
    for stage, small, large in zip(stages[1:], drawn, drawn[1:], strict=False):
        side = large.shape[1]
        print(f"new sentences, {side} x {side}: {vision.what_is_so(large, new, WORLD)}")
        agree = metrics.psnr(stage.shrink(large), small)
        print(f"  shrunk, and what it was made of: {agree:.1f} dB")
    print(f"See held-out.png in {folder}.")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="cascade")
    options.add_argument("captions", nargs="*", help="sentences to draw")
    options.add_argument("--count", type=whole(1), default=3, help="pictures of each sentence")
    options.add_argument("--guidance", type=number(), default=2.0, help="1: plain conditional")
    options.add_argument("--unconditional", action="store_true", help="say nothing, and draw")
    options.add_argument("--steps", type=whole(1), help="of each stage (default: the recipe's)")
    options.add_argument("--scenes", type=whole(2), default=20_000, help="to learn from")
    options.add_argument("--plain", action="store_true", help="train 32 without noise, too")
    options.add_argument("--evaluate", action="store_true", help="measure on new sentences")
    options.add_argument("--pictures", type=whole(1), default=500, help="to measure on")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
