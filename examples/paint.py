"""GauGAN: paint a map of what is to be where, and get pictures of it.

    python examples/paint.py --palette         a map to paint on, and what its colours mean
    python examples/paint.py map.png           pictures of a map
    python examples/paint.py                   of maps of test scenes
    python examples/paint.py --evaluate        is there what the map says?

A map is a square PNG of any size with a colour for each class, and black for the background:

PALETTE

Paint with a hard brush: mixed colours are an error that says where.  The first time, two models
are trained on scenes: diffusion that sees the map beside the noisy picture, and a SPADE generator
with an adversary.  Stopped, the training goes on with the next call; once it is done, pictures take
seconds.

Trains in runs/paint-diffusion and runs/paint-spade, and writes to runs/NAME/ (paint by default):
painted.png, or of a map MAP-painted.png, with a row for each model; map.png and palette.png of
--palette.  --evaluate looks at what was painted with runs/segment-encoder-decoder, a network of
examples/segment.py, and writes found.png.
"""

import time
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, models, training, vision
from tinydiff.autoencoding import Adversary
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.data.outlines import OUTLINES
from tinydiff.diffusion import Pipeline
from tinydiff.gaugan import Painter, SpadeLoss

SIDE, OBJECTS, WORLD = 64, (1, 8), data.World(patterned=False)
CLASSES = tuple(OUTLINES)
PALETTE = vision.Palette(CLASSES)
BATCH = 16
UNET = {"base_channels": 32, "channel_mults": (1, 2, 2), "num_res_blocks": 1, "patch": 2}
UNET |= {"attention_levels": (), "resample": "transpose", "norm_groups": 8}
DIFFUSION = {"classes": (), "unet": UNET, "schedule": ("cosine", 1000), "prediction": "v"}
SPADE = {"regions": 1 + OBJECTS[1], "latent": 4, "encoder": {"width": 32, "patch": 2}}
SPADE |= {"generator": {"widths": (24, 24, 48), "hidden": 16}}
DISCRIMINATOR, ADVERSARY = {"base_channels": 24, "layers": 2}, {"start": 300, "weight": 0.2}
LR = {"diffusion": 2e-3, "spade": 2e-3}
SAMPLING = {"sampler": "ddim", "steps": 25}
LIKE = 200  # scenes in whose styles SPADE paints
SHOWN, SCALE = 8, 8  # test maps in pictures; how much larger a map to paint on is


def main() -> None:
    args = parse_arguments()
    folder = run_folder(args, "paint")
    if args.palette:
        write_palette(folder)
        return
    mine = None if args.map is None else PALETTE.read(args.map, SIDE)
    judge = vision.Segmenter.load(args.segmenter) if args.evaluate else None
    painters = {kind: trained(kind, n, args) for kind, n in zip(LR, args.steps, strict=True)}
    if mine is None:
        test = scenes_of("test", SHOWN)
        maps, columns = maps_of(test), ()
        rows = {"map": PALETTE.paint(maps), "scene": test.images}
        rows |= {kind: draw(maps, args.seed) for kind, draw in painters.items()}
    else:
        maps, columns = mine[None].repeat(args.count, axis=0), ["map", *[""] * args.count]
        rows = {k: [PALETTE.paint(mine), *draw(maps, args.seed)] for k, draw in painters.items()}
    target = folder / ("painted.png" if mine is None else f"{args.map.stem}-painted.png")
    images.save_png(target, images.labelled_rows(rows, columns))
    print(f"See {target}.")
    if judge:
        evaluate(painters, judge, folder, args)


def scenes_of(split: str, count: int) -> data.Scenes:
    return data.shapes(split, count, side=SIDE, objects=OBJECTS, world=WORLD)


def maps_of(scenes: data.Scenes) -> np.ndarray:
    return data.semantic_masks(scenes.labels, scenes.instances)


def trained(kind: str, steps: int, args):
    """draw(maps, seed) of the model of the run in runs/paint-KIND, trained if it is not yet."""
    folder = args.out / f"paint-{kind}"
    settings = {"data": "shapes", "scenes": args.scenes, "objects": OBJECTS, "batch": BATCH}
    settings |= {"image": (SIDE, SIDE, 3), "map_classes": CLASSES, "lr": LR[kind], "steps": steps}
    settings |= DIFFUSION if kind == "diffusion" else {"spade": SPADE, "adversary": ADVERSARY}
    settings |= {"seed": args.seed}
    made = Pipeline if kind == "diffusion" else Painter
    if not training.is_finished(folder, settings, whatever=["seed"]):
        print(f"{folder} is not trained to its end: it is trained now.")
        td.seed(args.seed)
        train(made(settings), folder, settings)
    print(f"{folder.name}: trained {training.minutes(folder, BATCH):.1f} minutes")
    model = made.load(folder / "checkpoint.npz")
    if kind == "spade":
        some = scenes_of("train", LIKE)
        like = some.images, maps_of(some), some.instances
        return lambda maps, seed: model.draw(maps, like=like, rng=np.random.default_rng(seed))
    told = {"guidance": args.guidance, "progress": True, **SAMPLING}
    return lambda maps, seed: model.draw(len(maps), maps, rng=np.random.default_rng(seed), **told)


def train(made: Pipeline | Painter, folder: Path, settings: dict) -> None:
    states = {}
    if isinstance(made, Pipeline):
        told = lambda x, maps, _: made.training_loss(x, cond=maps)
    else:
        discriminator = models.PatchDiscriminator(3 + 1 + len(CLASSES), **DISCRIMINATOR)
        told = SpadeLoss(made.model, Adversary(discriminator, **ADVERSARY))
        states = told.states

    def loss(x, labels, boxes, instances) -> td.Tensor:
        return told(x, data.semantic_masks(labels, instances), instances)

    scenes = scenes_of("train", settings["scenes"])
    batches = data.Batches(scenes, BATCH, seed=settings["seed"], flip=True)
    print(f"{len(scenes)} scenes, {made.model.num_parameters():,} parameters")
    training.complete(made, loss, batches, folder, title=None, states=states)


def evaluate(painters: dict, judge: vision.Segmenter, folder: Path, args) -> None:
    """How much of a map is found in pictures of it, and are they like scenes?"""
    test, shown = scenes_of("test", args.pictures), slice(SHOWN)
    maps = maps_of(test)
    looks = metrics.scene_classifier(args.out / "classify-scenes", seed=0).model
    real, rows = metrics.features(looks, test.images), {"map": PALETTE.paint(maps[shown])}
    for name, draw in {"scene": lambda maps, seed: test.images, **painters}.items():
        began = time.perf_counter()
        drawn = draw(maps, args.seed)
        ms = 1000 * (time.perf_counter() - began) / len(maps)
        found = judge(drawn)
        iou = vision.class_iou(vision.confusion_matrix(found, maps, 1 + len(CLASSES)))
        told = f"{name}: mean IoU {np.nanmean(iou):.3f}"
        if name in painters:
            distance = metrics.unbiased_frechet_distance(real, metrics.features(looks, drawn))
            told += f", Fréchet distance {distance:.3f}, {ms:.0f} ms a picture"
        print(told)
        print("  " + ", ".join(f"{n} {v:.2f}" for n, v in zip(PALETTE.names, iou, strict=True)))
        rows |= {name: drawn[shown], f"found in {name}": PALETTE.paint(found[shown])}
    images.save_png(folder / "found.png", images.labelled_rows(rows))
    print(f"See {folder / 'found.png'}.")


def write_palette(folder: Path) -> None:
    """A map to paint over, and the names of its colours."""
    target = folder / "map.png"
    if target.exists():
        raise FileExistsError(f"{target} exists already: move it away for a new one")
    images.save_png(target, PALETTE.paint(maps_of(scenes_of("test", 1))[0]), scale=SCALE)
    images.save_png(folder / "palette.png", vision.draw_names(CLASSES, SCALE * SIDE))
    print(f"Paint on {target}.  Its colours, see {folder / 'palette.png'}: {PALETTE}.")


def parse_arguments():
    listed = "\n".join(f"    {part}" for part in str(PALETTE).split(", "))
    options = parser(__doc__.replace("PALETTE", listed), "--seed", "--name", "--out", name="paint")
    options.add_argument("map", nargs="?", type=Path, help="a map to paint, a PNG")
    options.add_argument("--palette", action="store_true", help="write a map to paint on")
    options.add_argument("--count", type=whole(1), default=6, help="pictures of a map, each model")
    options.add_argument("--guidance", type=number(), default=2.0, help="of diffusion; 1: none")
    steps = {"type": whole(1), "nargs": 2, "default": [5000, 4000]}
    options.add_argument("--steps", **steps, help="to train, of diffusion and of SPADE")
    options.add_argument("--scenes", type=whole(BATCH), default=20_000, help="to learn from")
    options.add_argument("--evaluate", action="store_true", help="measure on maps of test scenes")
    options.add_argument("--pictures", type=whole(40), default=500, help="to measure on")
    usual = Path("runs/segment-encoder-decoder/checkpoint.npz")
    options.add_argument("--segmenter", type=Path, default=usual, help="that looks, a checkpoint")
    args = options.parse_args()
    if args.palette and (args.map or args.evaluate):
        options.error("--palette trains and paints nothing: leave out the rest")
    return args


if __name__ == "__main__":
    run(main)
