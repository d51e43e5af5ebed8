"""Give a trained detector masks: which pixels of its box belong to each thing it finds.

    python examples/detect.py                     the detector, if there is none yet
    python examples/segment_instances.py          train a mask head on it, measure, draw
    python examples/segment_instances.py \\
        --checkpoint runs/segment-instances/checkpoint.npz --image my.png

Writes to runs/NAME/ (segment-instances by default): instances.png (test scenes: what is there,
below it what was found), loss.png, the log and a checkpoint that has the detector in it, too.  The
detector's own weights stay as they are.  The same command again goes on where it stopped.
With --image, it trains nothing and writes MY-masks.png beside the checkpoint.
"""

from functools import partial
from pathlib import Path

import tinydiff as td
from tinydiff import data, images, plots, training, vision
from tinydiff.commandline import number, parser, run, run_folder, whole

SIDE = 208
HEAD = {"width": 64, "blocks": 2}
BATCH, LR = 8, 2e-3
JITTER = 0.06  # of a box's sides: so far are the detector's corners off
SHOWN = 6  # test scenes in instances.png


def main() -> None:
    args = parse_arguments()
    if args.image:
        finder = vision.MaskFinder.load(args.checkpoint)
        target = args.checkpoint.with_name(f"{args.image.stem}-masks.png")
        for line in vision.find_in(args.image, finder, target, side=SIDE, score=args.score):
            print(line)
        return
    plots.require()
    folder = run_folder(args, "segment-instances")
    detector = vision.Finder.load(args.detector)
    td.seed(args.seed)
    scenes = data.shapes("train", args.scenes, side=SIDE)
    test = data.shapes("test", args.test_scenes, side=SIDE)
    settings = {
        **detector.settings,
        "mask_head": HEAD,
        "data": scenes.name,
        "scenes": len(scenes),
        "batch": BATCH,
        "lr": LR,
        "jitter": JITTER,
        "steps": args.steps,
        "seed": args.seed,
    }
    finder = vision.MaskFinder(settings)
    finder.model.detector.load_state_dict(detector.model.state_dict())
    trainer = trainer_of(finder, scenes, settings)
    print(f"{len(scenes)} scenes, {finder.model.head.num_parameters():,} parameters to learn")
    for _ in training.train(trainer, args.steps, folder, settings=settings):
        pass
    print(f"trained {training.minutes(folder, BATCH):.1f} minutes, up to step {trainer.step}")
    with trainer.ema.swapped():
        found = finder(test.images)
    truths = vision.objects_of(test.labels, test.boxes, test.instances)
    report(found, truths, len(test.classes))
    rows = truths, [objects.at_least(args.score) for objects in found]
    drawn = vision.draw_rows(test.images[:SHOWN], rows, test.classes, scale=2)
    images.save_png(folder / "instances.png", images.grid(drawn, len(drawn) // 2))
    training.save_loss(folder, "cross-entropy of a mask's pixels")
    print(f"See instances.png and loss.png in {folder}.")


def trainer_of(finder: vision.MaskFinder, scenes: data.Scenes, settings: dict) -> training.Trainer:
    """The recipe: masks of boxes near the true ones; the head alone learns."""
    model = finder.model
    model.detector.requires_grad_(False)
    batches = data.Batches(scenes, BATCH, seed=settings["seed"], flip=True)
    batches = vision.MaskBatches(batches, 2 * model.size, jitter=JITTER)
    steps = settings["steps"]
    return training.one_cycle_trainer(model, partial(loss, model), batches, lr=LR, steps=steps)


def loss(model, x, boxes, targets):
    return vision.mask_loss(model(x, boxes), targets)


def report(found: list, truths: list, classes: int) -> None:
    """Print how good boxes and masks are."""
    print(f"{len(truths)} test scenes, {sum(map(len, truths))} objects, COCO's average precision")
    for by in ("boxes", "masks"):
        coco = vision.coco_average_precision(found, truths, classes=classes, by=by)
        print(f"{by}: AP {coco.ap:.3f}, AP50 {coco.ap50:.3f}, AP75 {coco.ap75:.3f}")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="segment-instances")
    options.add_argument(
        "--detector",
        type=Path,
        default=Path("runs/detect/checkpoint.npz"),
        help="checkpoint of examples/detect.py",
    )
    options.add_argument("--steps", type=whole(1), default=5000, help="steps to train")
    options.add_argument("--scenes", type=whole(8), default=4000, help="scenes to learn from")
    options.add_argument("--test-scenes", type=whole(1), default=500, help="scenes to measure on")
    options.add_argument("--score", type=number(), default=0.3, help="draw what is as sure as that")
    options.add_image("a picture to look for shapes in")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
