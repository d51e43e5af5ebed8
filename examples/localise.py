"""Train a network that says what a picture shows and where: two heads on one backbone.

    python examples/localise.py                                train, measure on other scenes, draw
    python examples/localise.py --box-loss l2                  or smooth_l1; giou is the usual one
    python examples/localise.py --checkpoint runs/localise-giou/checkpoint.npz --image my.png

Transfer: take the backbone of another run, a classifier's or that of examples/detect.py, with new
heads, and learn all of it (fine-tuning) or with --frozen the heads alone.

    python examples/localise.py --box-loss none                learn the classes only
    python examples/localise.py --backbone runs/localise-none/checkpoint.npz --steps 500

Writes to runs/NAME/ (localise-LOSS by default, then -finetuned or -frozen): boxes.png (test scenes:
what is there, below it what was found), loss.png, the log and the checkpoint.  The same command
again goes on where it stopped.  With --image, it trains nothing and writes MY-located.png beside
the checkpoint.
"""

from pathlib import Path

import tinydiff as td
from tinydiff import data, images, models, plots, training, vision
from tinydiff.commandline import parser, run, run_folder, whole

SIDE = 96
NETWORK = {"widths": (32, 64, 128), "blocks": (1, 2, 3), "patch": 4}  # that of examples/detect.py
BATCH, LR = 32, 2e-3
WEIGHTS = {"l2": 50.0, "smooth_l1": 10.0, "giou": 1.0, "none": 0.0}  # λ, of the box in the loss
SHOWN = 8  # test scenes in boxes.png


def main() -> None:
    args = parse_arguments()
    if args.image:
        locate(args.checkpoint, args.image)
        return
    plots.require()
    start = ("-frozen" if args.frozen else "-finetuned") if args.backbone else ""
    folder = run_folder(args, f"localise-{args.box_loss}{start}")
    td.seed(args.seed)
    test = data.shapes("test", args.test_scenes, side=SIDE, objects=1)
    settings = {"data": test.name, "scenes": args.scenes, "classes": test.classes}
    settings |= {"localiser": NETWORK, "box_loss": args.box_loss, "frozen": args.frozen}
    settings |= {"backbone": str(args.backbone or ""), "batch": BATCH, "lr": LR}
    settings |= {"steps": args.steps, "seed": args.seed}
    localiser = vision.Localiser(settings)
    if args.backbone:
        localiser.take_backbone(args.backbone)
        localiser.model.backbone.requires_grad_(not args.frozen)
    scenes = data.shapes("train", args.scenes, side=SIDE, objects=1)
    trainer = trainer_of(localiser.model, scenes, settings)
    learned = sum(p.size for p in localiser.model.parameters() if p.requires_grad)
    total = localiser.model.num_parameters()
    print(f"{len(scenes)} scenes, {total:,} parameters, {learned:,} of them learned")
    for _ in training.train(trainer, args.steps, folder, settings=settings):
        pass
    print(f"trained {training.minutes(folder, BATCH):.1f} minutes, up to step {trainer.step}")
    with trainer.ema.swapped():
        found = localiser(test.images)
    truths = vision.objects_of(test.labels, test.boxes)
    scores = vision.localiser_scores(found, truths)
    print(f"{len(test)} test scenes: {scores.classes:.2%} of the classes right")
    if args.box_loss != "none":
        print(f"mean IoU {scores.iou:.3f}; class right and IoU at least 1/2: {scores.both:.2%}")
    draw(folder / "boxes.png", test, truths, found)
    training.save_loss(folder, f"classes and boxes ({args.box_loss})")
    print(f"See boxes.png and loss.png in {folder}.")


def trainer_of(
    model: models.LocaliserNetwork, scenes: data.Scenes, settings: dict
) -> training.Trainer:
    """The recipe."""
    name = settings["box_loss"]
    kind = {"box_loss": "l2" if name == "none" else name, "weight": WEIGHTS[name]}

    def loss(x, labels, boxes, instances) -> td.Tensor:
        return vision.localiser_loss(model(x), labels[:, 0], boxes[:, 0] / SIDE, **kind).total

    batches = data.Batches(scenes, BATCH, seed=settings["seed"], flip=True)
    steps = settings["steps"]
    return training.one_cycle_trainer(model, loss, batches, lr=LR, steps=steps, clip=1.0)


def draw(target: Path, test: data.Scenes, truths: list, found: list) -> None:
    """Test scenes with what is there, below it with what was found, above it how well they fit."""
    pictures = vision.draw_rows(test.images[:SHOWN], (truths, found), test.classes, scale=2)
    pairs = zip(found[:SHOWN], truths, strict=False)
    columns = [f"IoU {vision.iou(a.boxes, b.boxes)[0, 0]:.2f}" for a, b in pairs]
    table = images.labelled_grid(pictures, columns, ("truth", "found"), scale=1)
    images.save_png(target, table)


def locate(checkpoint: Path, file: Path) -> None:
    """What does a trained network see in a picture, and where?"""
    localiser = vision.Localiser.load(checkpoint)
    picture = data.read_picture(file, SIDE, multiple=localiser.model.stride)
    (found,) = localiser(picture[None])
    target = checkpoint.with_name(f"{file.stem}-located.png")
    images.save_png(target, vision.draw_objects(picture, found, localiser.classes, scale=4))
    height, width = picture.shape[:2]
    print(
        f"{localiser.classes[found.labels[0]]} {found.scores[0]:.0%} at "
        f"{found.boxes[0].round(1).tolist()} in {width} × {height} pixels.  See {target}."
    )


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="localise-LOSS")
    options.add_argument("--box-loss", choices=list(WEIGHTS), default="giou", help="of the box")
    options.add_argument("--steps", type=whole(1), default=8000, help="steps to train")
    options.add_argument("--scenes", type=whole(BATCH), default=20_000, help="to learn from")
    options.add_argument("--test-scenes", type=whole(1), default=2000, help="scenes to measure on")
    options.add_argument("--backbone", type=Path, metavar="NPZ", help="a run's, to begin with")
    options.add_argument("--frozen", action="store_true", help="learn the heads alone")
    options.add_image("a picture of a shape")
    args = options.parse_args()
    if args.frozen and args.backbone is None:
        options.error("--frozen needs a --backbone: nobody has taught this one yet")
    return args


if __name__ == "__main__":
    run(main)
