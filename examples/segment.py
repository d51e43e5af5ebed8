"""Train a network that says of each pixel what it shows, and colour one's own picture with it.

    python examples/segment.py                              train, measure on other scenes, draw
    python examples/segment.py --design window              the other designs: window, full
    python examples/segment.py --up unpool --no-skips       variants of the encoder-decoder
    python examples/segment.py --compare runs/segment-*     several, on the same scenes
    python examples/segment.py --checkpoint runs/segment-full/checkpoint.npz --image my.png

Writes to runs/NAME/ (segment-DESIGN by default, and its variant): segments.png (test scenes, what
is there, what was found), loss.png, the log and the checkpoint.  The same command again goes on
where it stopped.  With --compare or --image it trains nothing, and writes segment-designs.png into
the folder of all runs, or MY-segments.png beside the checkpoint.

The IoU of a class counts the pixels of all test scenes together; the mean is that of the ten
classes and the background.
"""

import time
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import backend, data, images, nn, ops, plots, training, vision
from tinydiff.commandline import check_writable, parser, run, run_folder, whole
from tinydiff.models import SlidingWindow
from tinydiff.team import team_of

SIDE, BATCH, LR = 64, 16, 2e-3
WINDOWS = 512  # of a batch's pictures, in a step of the sliding window
RECIPES = {  # network, and how many steps
    "encoder-decoder": ({"widths": (32, 64, 128), "blocks": (1, 2, 3)}, 9000),
    "full": ({"width": 32, "blocks": 7}, 2000),
    "window": ({}, 2000),
}
SHOWN = 8  # test scenes in pictures


def main() -> None:
    args = parse_arguments()
    if args.image:
        colour(args.checkpoint, args.image)
        return
    if args.compare:
        compare(args.compare, args.test_scenes, args.out)
        return
    plots.require()
    variant = ("-unpool" if args.up == "unpool" else "") + ("-no-skips" if args.no_skips else "")
    folder = run_folder(args, f"segment-{args.design}{variant}")
    td.seed(args.seed)
    scenes = data.shapes("train", args.scenes, side=SIDE)
    network, steps = RECIPES[args.design]
    if args.design == "encoder-decoder":
        network = {**network, "up": args.up, "skips": not args.no_skips}
    settings = {"data": scenes.name, "scenes": len(scenes), "classes": scenes.classes}
    settings |= {"design": args.design, "network": network, "steps": args.steps or steps}
    settings |= {"batch": BATCH, "lr": LR, "seed": args.seed}
    segmenter = vision.Segmenter(settings)
    trainer = trainer_of(segmenter.model, scenes, settings)
    print(f"{len(scenes)} scenes, {segmenter.model.num_parameters():,} parameters")
    for _ in training.train(trainer, settings["steps"], folder, settings=settings):
        pass
    test = data.shapes("test", args.test_scenes, side=SIDE)
    with trainer.ema.swapped():
        masks, iou = measure(folder, segmenter, test)
    for name, value in zip(("background", *test.classes), iou, strict=True):
        print(f"  {name:10} IoU {value:.3f}")
    draw(folder / "segments.png", test, {"found": masks})
    training.save_loss(folder, "−ln p(class), mean over pixels")
    print(f"See segments.png and loss.png in {folder}.")


def trainer_of(model: nn.Module, scenes: data.Scenes, settings: dict) -> training.Trainer:
    """The recipe."""

    def loss(x, labels, boxes, instances) -> td.Tensor:
        masks = data.semantic_masks(labels, instances)
        if isinstance(model, SlidingWindow):
            return ops.cross_entropy(*model.at_random(x, masks, WINDOWS))
        return ops.cross_entropy(model(x), masks)

    batches = data.Batches(scenes, BATCH, seed=settings["seed"], flip=True)
    steps = settings["steps"]
    return training.one_cycle_trainer(model, loss, batches, lr=LR, steps=steps, clip=1.0)


def measure(folder: Path, segmenter: vision.Segmenter, test: data.Scenes):
    """Print how good the masks are, and at what price; return them, and the IoU of each class."""
    began = time.perf_counter()
    masks = segmenter(test.images)
    ms = 1000 * (time.perf_counter() - began) / len(test)
    true = data.semantic_masks(test.labels, test.instances)
    iou = vision.class_iou(vision.confusion_matrix(masks, true, 1 + len(test.classes)))
    minutes = training.minutes(folder, BATCH)
    model, x = segmenter.model, backend.asarray(images.to_float(test.images[:1]))
    print(f"{folder.name}: {minutes:.1f} minutes of training, {len(test)} test scenes")
    print(f"  mean IoU {np.nanmean(iou):.3f}")
    print(f"  {nn.multiply_adds(model, x):,} multiply-adds and {ms:.1f} ms a picture")
    if isinstance(model, SlidingWindow):
        window = model.windows(x, *np.zeros((3, 1), int))
        work, began = SIDE**2 * nn.multiply_adds(model.window, window), time.perf_counter()
        with td.no_grad(), team_of(model):
            model.one_by_one(x)
        ms = 1000 * (time.perf_counter() - began)
        print(f"  {work:,} multiply-adds and {ms:.0f} ms, one window at a time")
    return masks, iou


def compare(folders: list[Path], count: int, out: Path) -> None:
    """Trained networks on the same test scenes."""
    check_writable(out)
    segmenters = [vision.Segmenter.load(folder / "checkpoint.npz") for folder in folders]
    test, found = data.shapes("test", count, side=SIDE), {}
    for folder, segmenter in zip(folders, segmenters, strict=True):
        found[folder.name.removeprefix("segment-")], _ = measure(folder, segmenter, test)
    draw(out / "segment-designs.png", test, found)
    print(f"See {out / 'segment-designs.png'}.")


def draw(target: Path, test: data.Scenes, found: dict[str, np.ndarray]) -> None:
    """Test scenes, a row for the truth and for each of those who found something."""
    shown = test.images[:SHOWN]
    rows = {"truth": data.semantic_masks(test.labels, test.instances), **found}
    drawn = [vision.draw_mask(shown[k], m[k]) for m in rows.values() for k in range(len(shown))]
    columns = [""] * len(shown)
    table = images.labelled_grid(np.stack([*shown, *drawn]), columns, ("scene", *rows))
    names = vision.draw_names(test.classes, table.shape[1])
    images.save_png(target, np.concatenate([table, names]))


def colour(checkpoint: Path, file: Path) -> None:
    """What does a trained network see in a picture?"""
    segmenter = vision.Segmenter.load(checkpoint)
    picture = data.read_picture(file, SIDE, multiple=segmenter.model.stride)
    (mask,) = segmenter(picture[None])
    shares = np.bincount(mask.ravel(), minlength=1 + len(segmenter.classes)) / mask.size
    for name, share in zip(("background", *segmenter.classes), shares, strict=True):
        if share:
            print(f"{name}: {share:.1%} of the pixels")
    coloured = vision.draw_mask(picture, mask, scale=5)
    names = vision.draw_names(segmenter.classes, coloured.shape[1])
    target = checkpoint.with_name(f"{file.stem}-segments.png")
    images.save_png(target, np.concatenate([coloured, names]))
    print(f"See {target}.")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="segment-DESIGN")
    designs, ups = list(RECIPES), ["transpose", "unpool"]
    options.add_argument("--design", choices=designs, default="encoder-decoder", help="network")
    options.add_argument("--up", choices=ups, default="transpose", help="how a decoder enlarges")
    options.add_argument("--no-skips", action="store_true", help="it sees what is below it only")
    options.add_argument("--steps", type=whole(1), help="steps to train, or else the design's")
    options.add_argument("--scenes", type=whole(BATCH), default=20_000, help="scenes to learn from")
    options.add_argument("--test-scenes", type=whole(1), default=500, help="scenes to measure on")
    options.add_argument("--compare", type=Path, nargs="+", metavar="RUN", help="folders of runs")
    options.add_image("a picture to colour", instead_of="compare")
    args = options.parse_args()
    if args.design != "encoder-decoder" and (args.up != "transpose" or args.no_skips):
        options.error(f"--design {args.design} has no decoder: leave out --up and --no-skips")
    return args


if __name__ == "__main__":
    run(main)
