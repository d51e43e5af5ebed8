"""Text to image: pictures of two things that were never seen together, from a sentence.

    python examples/text_to_image.py "a red circle above a blue square" "two yellow hearts"
    python examples/text_to_image.py --evaluate
    python examples/text_to_image.py --checkpoint runs/text-to-image/checkpoint.npz "a white cross"

Sentences are of three kinds: "a COLOUR SHAPE", "two COLOUR SHAPEs" and "a COLOUR SHAPE RELATION a
COLOUR SHAPE", where a COLOUR is red, yellow, green, blue, purple or white, a SHAPE circle, square,
triangle, cross or heart, a RELATION left of, right of, above or below.  Given none, it shows some.

The first time, a U-Net and the transformer that reads the sentences are trained together; stopped,
the training goes on with the next call, and once it is done, pictures take seconds.  One pair of
things in five is held out of it: "a red circle" and "a blue square" are seen, but never together.

Writes to runs/NAME/ (text-to-image by default): drawn.png (a row a sentence), loss.png, the log and
the checkpoint.  --evaluate draws sentences that are held out, measures in each picture which shapes
of which colours are where, and writes held-out.png and guidance.png.
"""

import dataclasses
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, plots, training, vision
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.data.tokens import words_of
from tinydiff.diffusion import Pipeline

WORLD, SIDE, LONGEST = data.SIMPLE, 32, 8  # in pixels, and in words
PAIRS = 15  # the seed of those held out; the first sentence here is one of them
SHOWN = (
    "a red circle above a blue square",
    "a blue square above a red circle",
    "a yellow heart left of a purple cross",
    "a green triangle right of a white circle",
    "two purple hearts",
    "a white cross",
)
NETWORK = {
    "base_channels": 48,
    "channel_mults": (1, 2),
    "num_res_blocks": 1,
    "attention_levels": (1,),  # 8×8 places of 4×4 pixels, each of which looks at the words
    "num_heads": 4,
    "resample": "transpose",
    "norm_groups": 8,
    "patch": 2,
    "coordinates": True,
    "text": {"length": LONGEST, "width": 64, "depth": 2, "heads": 4},
}
OBJECTIVE = {"schedule": ("cosine", 1000), "prediction": "x0", "weighting": "clip_snr"}
TURNED = 0.6  # of the sentences with "right of" or "below", to make those words the exception
RECIPE = {"batch": 32, "lr": 1e-3, "turned": TURNED}
SAMPLER, SCALES = {"sampler": "ddpm", "steps": 50}, (1.0, 1.5, 2.0, 3.0, 5.0)
ASPECTS = ("colours", "shapes", "things", "relations")


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder = run_folder(args, "text-to-image")
    captions = args.captions or SHOWN
    words = words_of(WORLD.captions())
    if args.checkpoint is None:
        data.Tokenizer(words, LONGEST).encode(captions)  # complain now, not when all is trained
        pipeline = trained(args, folder, words)
    else:
        pipeline = Pipeline.load(args.checkpoint, example="examples/text_to_image.py")
    if pipeline.tokenizer is None:
        path = args.checkpoint or folder
        raise ValueError(f"{path}: the model was told no captions when it learned")
    asked = [caption for caption in captions for _ in range(args.count)]
    drawn = draw(pipeline, asked, args.guidance, args.seed)
    table = images.labelled_grid(drawn, [""] * args.count, captions, scale=3)
    images.save_png(folder / "drawn.png", table)
    print(f"See drawn.png in {folder}.")
    if args.evaluate:
        evaluate(pipeline, folder, args)


def draw(pipeline: Pipeline, captions: list[str], guidance: float, seed: int) -> np.ndarray:
    rng, settings = np.random.default_rng(seed), {"guidance": guidance, "progress": True}
    return pipeline.draw(len(captions), captions, rng=rng, **SAMPLER, **settings)


def trained(args, folder: Path, words: list[str]) -> Pipeline:
    """The model of the run in ``folder``, trained to its end."""
    try:
        return Pipeline.load(folder / "checkpoint.npz", finished=True)
    except FileNotFoundError:
        print(f"There is no model in {folder} yet: it is trained now.")
    except training.HalfTrained:
        print(f"The model in {folder} is half trained: it is trained on now.")
    td.seed(args.seed)
    # What the network is told of a class are the words of its name.
    dataset = data.told_scenes(
        args.scenes, side=SIDE, world=WORLD, pairs=PAIRS, turned=TURNED, seed=args.seed
    )
    settings = {"data": dataset.name, "scenes": len(dataset), "pairs": PAIRS}
    settings |= {"world": dataclasses.asdict(WORLD), "words": words, "classes": ()}
    settings |= {"image": dataset.images.shape[1:], "unet": NETWORK, **OBJECTIVE}
    settings |= {**RECIPE, "steps": args.steps, "seed": args.seed}
    pipeline = Pipeline(settings)
    tokens = pipeline.tokenizer.encode(dataset.classes)

    def loss(x, label):
        return pipeline.training_loss(x, cond=tokens[label], weighting=OBJECTIVE["weighting"])

    sizes = f"{len(dataset.classes)} sentences, {pipeline.model.num_parameters():,} parameters"
    print(f"{len(dataset)} scenes, {sizes}")
    batches = data.Batches(dataset, min(RECIPE["batch"], len(dataset)), seed=args.seed)
    minutes = training.complete(pipeline, loss, batches, folder, title="training loss")
    print(f"trained {minutes:.1f} minutes, up to step {args.steps}")
    return Pipeline.load(folder / "checkpoint.npz")


def evaluate(pipeline: Pipeline, folder: Path, args) -> None:
    """How often is a sentence about things never seen together true of what is drawn?"""
    if data.World(**pipeline.settings.get("world", {})) != WORLD:
        path = args.checkpoint or folder
        raise ValueError(f"{path}: it learned from another world than is measured here")
    known, new = (some(args, pairs) for pairs in data.pairs_of(WORLD, seed=PAIRS))
    real = data.shapes("test", args.pictures, side=SIDE, objects=2, world=WORLD)
    report("real scenes", real.images, real.captions)
    shares = {aspect: [] for aspect in ASPECTS}
    for scale in SCALES:
        drawn = draw(pipeline, new, scale, args.seed)
        for aspect, estimate in report(f"new sentences, w = {scale:g}", drawn, new).items():
            shares[aspect].append((estimate.value, estimate.error))
    drawn = draw(pipeline, new[:24], args.guidance, args.seed)
    images.save_png(folder / "held-out.png", images.captioned_grid(drawn, new[:24], 6, scale=6))
    drawn = draw(pipeline, known, args.guidance, args.seed)
    report(f"known pairs, w = {args.guidance:g}", drawn, known)
    plots.save_panels(folder / "guidance.png", SCALES, {"what is so": shares}, xlabel="guidance w")
    print(f"See held-out.png and guidance.png in {folder}.")


def some(args, captions: list[str]) -> list[str]:
    """So many of them, all different if there are enough."""
    rng = np.random.default_rng(args.seed)
    return rng.choice(captions, args.pictures, replace=args.pictures > len(captions)).tolist()


def report(name: str, drawn: np.ndarray, captions) -> dict[str, metrics.Estimate]:
    """Print what is so in the pictures."""
    told = vision.what_is_so(drawn, captions, WORLD)
    print(f"{name}: {told}")
    return told.shares()


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="text-to-image")
    options.add_argument("captions", nargs="*", help="sentences to draw")
    options.add_argument("--count", type=whole(1), default=8, help="pictures of each sentence")
    options.add_argument("--guidance", type=number(), default=2.0, help="1: plain conditional")
    options.add_argument("--checkpoint", type=Path, help="of another run, to draw with")
    options.add_argument("--steps", type=whole(1), default=14_000, help="training steps")
    options.add_argument("--scenes", type=whole(2), default=40_000, help="to learn from")
    options.add_argument("--evaluate", action="store_true", help="measure on new sentences")
    options.add_argument("--pictures", type=whole(1), default=500, help="to measure on")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
