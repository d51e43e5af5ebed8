"""DALL·E 2, small: a CLIP, a prior and a decoder; pictures from captions, and like pictures.

    python examples/unclip.py "a large red circle" "a large white cross"
    python examples/unclip.py --image my.png                   variations of it
    python examples/unclip.py --image my.png other.png         and what lies between the two
    python examples/unclip.py --evaluate

CLIP learns, as vectors, which caption belongs to which picture; the prior draws a picture's vector
for that of a caption; the decoder draws pictures of a vector.  The first time, each is trained in
a run of its own, clip, prior and decoder in runs/NAME (unclip by default); stopped, the training
goes on with the next call, and once it is done, pictures take seconds.

CLIP sees scenes of one large thing, "a large COLOUR SHAPE", and of two that are smaller, with the
captions of examples/text_to_image.py, of which the same pairs are held out.  Prior and decoder
learn from those of one thing, and so can draw no others.

Writes to runs/NAME/: drawn.png (a row a caption), variations.png and between.png (of test scenes,
if there is no --image), and of each part loss.png, the log and the checkpoint.  --evaluate tells
how often CLIP finds the caption of a picture among 100, and the picture of a caption, how often it
names what a picture shows, and how often variations, and pictures of captions, are right.
"""

import dataclasses
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, plots, training, vision
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.data import held_out
from tinydiff.data.tokens import split_words, words_of
from tinydiff.diffusion import Pipeline
from tinydiff.unclip import (
    Matcher,
    Prior,
    UnCLIP,
    clip_learning,
    decoder_learning,
    found_among,
    prior_learning,
)
from tinydiff.unclip.unclip import PARTS

TWO, SIDE = data.SIMPLE, 32  # of two things, and pixels
ONE = dataclasses.replace(TWO, sizes=("large",))  # of one
NAMES = [str(thing) for thing in ONE.things()]
WORDS = words_of(ONE.captions() + TWO.captions())
LONGEST, PAIRS = 8, 15  # words of a caption; the seed of the pairs held out
SHOWN = [f"a {name}" for name in NAMES[::7]]
WIDTH = 64  # numbers a vector
CLIP = {
    "embedding": WIDTH,
    "image": {"patch": 2, "widths": (48, 96), "blocks": (1, 0), "depth": 2},
    "text": {"length": LONGEST, "width": 64, "depth": 2, "heads": 4},
}
PRIOR = {"width": 128, "depth": 2, "heads": 4}
DECODER = {"base_channels": 48, "channel_mults": (1, 2), "num_res_blocks": 1, "norm_groups": 8}
DECODER |= {"attention_levels": (), "num_heads": 4, "resample": "transpose", "patch": 2}
OBJECTIVE = {"prediction": "x0", "weighting": "clip_snr"}  # of the decoder
RECIPE = {
    "clip": {"steps": 1000, "batch": 128, "lr": 1e-3},
    "prior": {"steps": 2500, "batch": 128, "lr": 1e-3},
    "decoder": {"steps": 5000, "batch": 32, "lr": 2e-3},
}
AMONG, SAMPLING = 100, 20  # captions to find one among; steps to draw
ASPECTS = ("colours", "shapes", "things")
WEIGHTS = np.linspace(0, 1, 9)


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder = run_folder(args, "unclip")
    captions = args.captions or SHOWN
    if args.captions and args.image:
        raise ValueError("captions and --image are two things to do: one at a time")
    for caption in captions:  # complain now, not when all is trained
        if " ".join(split_words(caption)).removeprefix("a ") not in NAMES:
            raise ValueError(f'{caption!r}: expected "a large COLOUR SHAPE", as {SHOWN[0]!r}')
    own = np.array([data.read_square(path, SIDE) for path in args.image or ()])
    settings = {"prior_guidance": args.prior_guidance, "guidance": args.guidance, "steps": SAMPLING}
    try:
        unclip = UnCLIP.load(folder, **settings)
    except (FileNotFoundError, training.HalfTrained):
        print(f"Not all of it is trained in {folder} yet: that is done now.")
        train(args, folder)
        unclip = UnCLIP.load(folder, **settings)
    if args.evaluate:
        evaluate(unclip, args)
    if len(own):
        vary(unclip, own, folder, args)
    else:
        asked = [caption for caption in captions for _ in range(args.count)]
        drawn = unclip.draw(asked, np.random.default_rng(args.seed))
        table = images.labelled_grid(drawn, [""] * args.count, captions, scale=3)
        images.save_png(folder / "drawn.png", table)
        vary(unclip, scenes("test", 8, ONE)[0], folder, args)
    print(f"See what is drawn in {folder}.")


def train(args, folder: Path) -> None:
    """Train what is not trained yet of the three parts, each in its run."""
    one, two = (scenes("train", args.scenes // 2, world) for world in (ONE, TWO))
    told = {"scenes": args.scenes, "worlds": [dataclasses.asdict(world) for world in (ONE, TWO)]}
    told |= {"pairs": PAIRS, "image": (SIDE, SIDE, 3), "seed": args.seed}

    def learn(part: str, kind, settings: dict, learning, pictures, captions, *matcher):
        """One part from its run, trained to its end."""
        classes, labels = np.unique(captions, return_inverse=True)
        dataset = data.Dataset("shapes-train", pictures, labels, tuple(classes.tolist()))
        settings = {**told, **settings, **RECIPE[part], "steps": args.steps[PARTS.index(part)]}
        if not training.is_finished(folder / part, settings):
            td.seed(args.seed)
            made, batch = kind(settings), min(settings["batch"], len(dataset))
            batches = data.Batches(dataset, batch, seed=args.seed)
            loss, batches = learning(made, batches, *matcher)
            print(f"{part}: {len(dataset)} scenes, {made.model.num_parameters():,} parameters")
            title = f"loss of the {part}"
            minutes = training.complete(made, loss, batches, folder / part, title=title)
            print(f"trained {minutes:.1f} minutes")
        return kind.load(folder / part / "checkpoint.npz")

    both = np.concatenate([one[0], two[0]]), one[1] + two[1]
    matcher = learn("clip", Matcher, {"words": WORDS, "clip": CLIP}, clip_learning, *both)
    told |= {"clip": matcher.settings, "embedding": WIDTH, "schedule": ("cosine", 1000)}
    learn("prior", Prior, {"prior": PRIOR}, prior_learning, *one, matcher)
    told |= {"classes": (), "unet": {**DECODER, "embedding": WIDTH}, **OBJECTIVE}
    learn("decoder", Pipeline, {}, decoder_learning, *one, matcher)


def vary(unclip: UnCLIP, pictures: np.ndarray, folder: Path, args) -> None:
    """variations.png: what says the same; between.png, of pairs: what lies between."""
    rng, n = np.random.default_rng(args.seed), len(pictures)
    drawn = unclip.variations(pictures, args.count, rng)
    rows = [pictures[:, None], drawn.reshape(n, args.count, *pictures.shape[1:])]
    table = np.concatenate(rows, axis=1).reshape(-1, *pictures.shape[1:])
    names = ["picture", "variations", *[""] * (args.count - 1)]
    images.save_png(folder / "variations.png", images.labelled_grid(table, names, scale=3))
    if n > 1:
        ends = pictures[: n - 1 : 2], pictures[1::2]
        between = unclip.between(*ends, WEIGHTS, args.seed)
        table = images.side_by_side([ends[0], *between, ends[1]])
        images.save_png(folder / "between.png", table, scale=3)


def evaluate(unclip: UnCLIP, args) -> None:
    """How good are the three parts, on scenes and captions they have not seen?"""
    matcher, n, rng = unclip.matcher, args.pictures, np.random.default_rng(args.seed)
    one, two, new = scenes("test", n, ONE), scenes("test", n, TWO), scenes("test", 5 * n, TWO, True)
    mixed = rng.permutation(n + len(two[1]))
    both = np.concatenate([one[0], two[0]])[mixed], np.array(one[1] + two[1])[mixed].tolist()
    for name, (pictures, captions) in (("one thing or two", both), ("pairs never seen", new)):
        of_pictures, of_captions = matcher.of_images(pictures), matcher.of_captions(captions)
        found = found_among(AMONG, of_pictures, of_captions, captions)
        say(f"the caption found among {AMONG}, {name}", found)
        found = found_among(AMONG, of_captions, of_pictures, captions)
        say(f"the picture found among {AMONG}, {name}", found)

    pictures, captions = one
    seen = matcher.classify(pictures, [[f"a {name}"] for name in NAMES]).argmax(axis=1)
    say(f"named, one of {len(NAMES)}", np.array([f"a {NAMES[k]}" for k in seen]) == captions)
    others = data.single_shapes("test", 2 * n)
    these = np.isin(others.labels, [others.classes.index(shape) for shape in ONE.shapes])
    prompts = [[f"a {name}" for name in NAMES if name.endswith(shape)] for shape in ONE.shapes]
    seen = matcher.classify(others.images[these], prompts).argmax(axis=1)
    right = np.array(ONE.shapes)[seen] == np.array(others.classes)[others.labels[these]]
    say(f"named, one of {len(prompts)}, pictures of another kind", right)

    vectors = matcher.of_captions(captions)
    drawn = {
        "pictures": lambda: pictures,
        "their variations": lambda: unclip.variations(pictures, 1, rng),
        "pictures of captions": lambda: unclip.draw(captions, rng),
        "the same without the prior": lambda: unclip.decode(vectors, rng),
    }
    for name, draw in drawn.items():
        told = vision.what_is_so(draw(), captions, ONE)
        found = {aspect: metrics.share(getattr(told, aspect)) for aspect in ASPECTS}
        print(f"{name}: " + ", ".join(f"{aspect} {e:.1%}" for aspect, e in found.items()))


def scenes(split: str, count: int, world: data.World, new: bool = False):
    """So many pictures, and their captions, of the things in a world: about pairs that are not held
    out, or, some fifth of the count, about ``new`` ones."""
    drawn = data.shapes(split, count, side=SIDE, objects=1 if world is ONE else 2, world=world)
    these = [held_out(caption, seed=PAIRS) == new for caption in drawn.captions]
    return drawn.images[these], np.array(drawn.captions)[these].tolist()


def say(what: str, right: np.ndarray) -> None:
    print(f"{what}: {metrics.share(right):.1%}")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="unclip")
    options.add_argument("captions", nargs="*", help="captions to draw")
    options.add_argument("--image", type=Path, nargs="+", help="pictures to vary instead")
    options.add_argument("--count", type=whole(1), default=8, help="pictures of each")
    options.add_argument("--guidance", type=number(), default=2.0, help="of the decoder")
    options.add_argument("--prior-guidance", type=number(), default=1.0, help="of the prior")
    steps = [recipe["steps"] for recipe in RECIPE.values()]
    options.add_argument(
        "--steps", type=whole(1), nargs=3, default=steps, help="to train clip, prior and decoder"
    )
    options.add_argument("--scenes", type=whole(4), default=20_000, help="to learn from")
    options.add_argument("--evaluate", action="store_true", help="measure all three parts")
    options.add_argument("--pictures", type=whole(2 * AMONG), default=500, help="to measure on")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
