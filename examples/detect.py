"""Train a YOLO detector on scenes of coloured shapes, and find such shapes in pictures.

    python examples/detect.py                     train, measure on other scenes, draw
    python examples/detect.py --checkpoint runs/detect/checkpoint.npz --image my.png

Writes to runs/NAME/ (detect by default): detections.png (test scenes: what is there, below it what
was found), loss.png, the log and the checkpoint.  The same command again goes on where it stopped.
With --image, it trains nothing and writes MY-found.png beside the checkpoint.
"""

import numpy as np

import tinydiff as td
from tinydiff import data, images, plots, training, vision
from tinydiff.commandline import number, parser, run, run_folder, whole

SIDE, ANCHORS = 208, 5
NETWORK = {"widths": (32, 64, 128), "blocks": (1, 2, 3), "patch": 4}  # cells of 16 × 16 pixels
BATCH, LR = 8, 2e-3
PULLED = 12_800  # pictures at the beginning, in which boxes are pulled to their anchors
SHOWN = 6  # test scenes in detections.png


def main() -> None:
    args = parse_arguments()
    if args.image:
        finder = vision.Finder.load(args.checkpoint)
        target = args.checkpoint.with_name(f"{args.image.stem}-found.png")
        for line in vision.find_in(args.image, finder, target, side=SIDE, score=args.score):
            print(line)
        return
    plots.require()
    folder = run_folder(args, "detect")
    td.seed(args.seed)
    scenes = data.shapes("train", args.scenes, side=SIDE)
    test = data.shapes("test", args.test_scenes, side=SIDE)
    settings = {
        "data": scenes.name,
        "scenes": len(scenes),
        "classes": scenes.classes,
        "anchors": anchors(scenes).tolist(),
        "detector": NETWORK,
        "batch": BATCH,
        "lr": LR,
        "steps": args.steps,
        "seed": args.seed,
    }
    finder = vision.Finder(settings)
    trainer = trainer_of(finder, scenes, settings)
    print(f"{len(scenes)} scenes, {finder.model.num_parameters():,} parameters")
    for _ in training.train(trainer, args.steps, folder, settings=settings):
        pass
    print(f"trained {training.minutes(folder, BATCH):.1f} minutes, up to step {trainer.step}")
    with trainer.ema.swapped():
        found = finder(test.images)
    truths = vision.objects_of(test.labels, test.boxes)
    report(found, truths, len(test.classes))
    rows = truths, [objects.at_least(args.score) for objects in found]
    drawn = vision.draw_rows(test.images[:SHOWN], rows, test.classes, scale=2)
    images.save_png(folder / "detections.png", images.grid(drawn, len(drawn) // 2))
    training.save_loss(folder, "YOLO's loss")
    print(f"See detections.png and loss.png in {folder}.")


def anchors(scenes: data.Scenes) -> np.ndarray:
    """The shapes that boxes usually have, in cells."""
    some = scenes[:1000]
    boxes = some.boxes[some.labels != data.NOTHING]
    cell = NETWORK["patch"] * 2 ** (len(NETWORK["widths"]) - 1)
    return vision.anchors_of((boxes[:, 2:] - boxes[:, :2]) / cell, ANCHORS)


def trainer_of(finder: vision.Finder, scenes: data.Scenes, settings: dict) -> training.Trainer:
    """The recipe."""
    model, grid = finder.model, finder.grid(SIDE, SIDE)

    def loss(x, targets):
        early = trainer.step * BATCH < PULLED
        return vision.yolo_loss(model(x), targets, grid, prior=early).total

    batches = data.Batches(scenes, BATCH, seed=settings["seed"], flip=True)
    batches = vision.YoloBatches(batches, grid)
    trainer = training.one_cycle_trainer(model, loss, batches, lr=LR, steps=settings["steps"])
    return trainer


def report(found: list, truths: list, classes: int) -> None:
    """Print how good the detections are."""
    coco = vision.coco_average_precision(found, truths, classes=classes)
    print(f"{len(truths)} test scenes, {sum(map(len, truths))} objects, corners continuous")
    print(f"COCO: AP {coco.ap:.3f}, AP50 {coco.ap50:.3f}, AP75 {coco.ap75:.3f}")
    for rule in ("11-point", "all-point"):
        voc = vision.average_precision(found, truths, classes=classes, rule=rule)
        print(f"VOC, {rule}: AP50 {np.nanmean(voc):.3f}")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="detect")
    options.add_argument("--steps", type=whole(1), default=12_000, help="steps to train")
    options.add_argument("--scenes", type=whole(20), default=6000, help="scenes to learn from")
    options.add_argument("--test-scenes", type=whole(1), default=500, help="scenes to measure on")
    options.add_argument("--score", type=number(), default=0.3, help="draw what is as sure as that")
    options.add_image("a picture to look for shapes in")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
