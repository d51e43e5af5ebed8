"""Train a network to say what a picture shows, and ask it about your own.

    python examples/classify.py --data mnist                      train, test, show the mistakes
    python examples/classify.py --data PATH/TO/PICTURES           one sub-folder a class
    python examples/classify.py --checkpoint runs/resnet-mnist/checkpoint.npz --image my.png
    python examples/classify.py --data mnist --judge samples.npz  does it see the class asked for?

Writes to runs/NAME/: loss.png, mistakes.png (test pictures it got wrong: what it said, and in
brackets what it is), confusion.png (what is taken for what), the log and checkpoint.  The same
command again goes on where it stopped.  NAME is MODEL-DATA by default, but classify-DATA if the
recipe is that of the judge of drawn pictures (--model plain for grey ones, resnet for colour);
with --judge it is that one, trained first if there is none.

Of a folder, every tenth picture of each class is kept for the test.  With --image it trains nothing
and prints how likely each class is; the middle of the picture is what it looks at.
"""

from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, plots
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.metrics import Recogniser, judge_of, judge_recipe, predict, share, train_classifier
from tinydiff.models import CLASSIFIERS
from tinydiff.training import minutes, save_loss
from tinydiff.vision import confusion_matrix

DATA = data.LABELLED
NETWORKS = {"resnet": {"lr": 3e-3}, "vgg": {"lr": 1e-3}, "plain": {}, "strided": {}}
COLOUR = {"epochs": 6.0, "least_steps": 600, "shift": 3, "flip": True}
TRAINING = {  # of what is not the judge: passes over the data, and what its class survives
    "digits": {"epochs": 4.0, "shift": 1},
    "mnist": {"epochs": 5.0, "shift": 2},
    "fashion-mnist": {"epochs": 14.0, "flip": True},
    "shapes": {"epochs": 5.0},
}
SHOWN, COLUMNS = 60, 10  # mistakes
READABLE = 20  # classes in confusion.png


def main() -> None:
    args = parse_arguments()
    if args.image:
        recognise(args.checkpoint, args.image)
        return
    recipe, name = recipe_of(args)
    plots.require()
    folder = run_folder(args, name)
    train_set, test_set = data.train_and_test(args.data, DATA, args.size)
    if args.judge:
        judge(args.judge, train_set, folder)
        return
    td.seed(args.seed)
    print(f"{args.data}: {len(train_set)} images, {args.model}")
    recogniser = train_classifier(train_set, folder, seed=args.seed, **recipe)
    batch = recogniser.settings["recipe"]["batch_size"]
    print(f"trained {minutes(folder, batch):.1f} minutes")
    predicted = predict(recogniser.model, test_set.images)
    wrong = np.flatnonzero(predicted != test_set.labels)
    print(f"test accuracy {share(predicted == test_set.labels):.2%} of {len(test_set)}")
    written = ["loss.png"]
    save_loss(folder, f"{args.data}: training loss")
    if len(wrong):
        table = mistakes(test_set, wrong[:SHOWN], predicted)
        images.save_png(folder / "mistakes.png", table)
        written.append("mistakes.png")
    if len(test_set.classes) <= READABLE:
        counts = confusion_matrix(predicted, test_set.labels, len(test_set.classes))
        plots.save_confusion(folder / "confusion.png", counts, test_set.classes)
        written.append("confusion.png")
    print(f"See {', '.join(written)} in {folder}.")


def recipe_of(args) -> tuple[dict, str]:
    """How to train, and what the run is called."""
    recipe, first = judge_recipe(1 if args.data in data.MNIST_LIKE else 3), "classify"
    if not args.judge and args.model != recipe["kind"]:
        training = TRAINING.get(args.data, COLOUR)
        recipe, first = {"kind": args.model, **NETWORKS[args.model], **training}, args.model
    if args.epochs:
        recipe |= {"epochs": args.epochs, "least_steps": 1}
    return recipe, f"{first}-{data.short_name(args.data, DATA)}"


def mistakes(test_set: data.Dataset, wrong: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """A picture of the test pictures ``wrong``, below each what it was taken for."""
    said, is_ = ([test_set.classes[c] for c in of[wrong]] for of in (predicted, test_set.labels))
    captions = [f"{a} ({b})" for a, b in zip(said, is_, strict=True)]
    return images.captioned_grid(test_set.images[wrong], captions, COLUMNS, scale=3)


def recognise(checkpoint: Path, file: Path) -> None:
    """What does a trained classifier see in a picture?"""
    recogniser = Recogniser.load(checkpoint)
    (likely,) = recogniser(recogniser.read(file)[None])
    for c in np.argsort(-likely):
        print(f"{likely[c]:6.1%} {recogniser.classes[c]}")


def judge(path: Path, train_set: data.Dataset, folder: Path) -> None:
    """Of the pictures asked for as class c, how many does the judge take for one?"""
    drawn, labels = data.load_drawn(path)
    if labels is None:
        raise ValueError(f"{path} holds pictures without labels: there is nothing to agree with")
    if drawn.shape[1:] != train_set.images.shape[1:]:
        shapes = f"{drawn.shape[1:]}, those of {train_set.name} are {train_set.images.shape[1:]}"
        raise ValueError(f"{path}: pictures of {shapes}")
    agrees = predict(judge_of(train_set, folder), drawn) == labels
    for label in np.unique(labels):
        print(f"class {label}: {agrees[labels == label].mean():.1%}")
    print(f"label agreement {share(agrees):.1%} of {len(agrees)} pictures")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="see above")
    known = ", ".join(DATA)
    options.add_argument("--data", default="digits", help=f"{known}, or a folder of pictures")
    options.add_argument("--size", type=whole(8), default=32, help="side of a folder's pictures")
    options.add_argument("--model", default="resnet", choices=list(CLASSIFIERS), help="the network")
    options.add_argument("--epochs", type=number(above=0), help="passes (default: the recipe's)")
    options.add_argument("--judge", type=Path, metavar="NPZ", help="file of examples/sample.py")
    options.add_image("a picture to recognise", instead_of="judge")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
