"""Train a small classifier, and let it judge what a diffusion model drew.

    python examples/classify.py --data mnist                      train, test, show the mistakes
    python examples/classify.py --data mnist --judge samples.npz  does it see the class asked for?

Writes to runs/NAME/ (classify-DATA by default): loss.png, mistakes.png (test images it got wrong),
the log and checkpoint.
"""

import time
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, plots
from tinydiff.commandline import number, parser, run, run_folder
from tinydiff.metrics import load_judge, predict, share, train_judge
from tinydiff.models import Classifier
from tinydiff.training import read_log

DATA = data.MNIST_LIKE


def main() -> None:
    args = parse_arguments()
    usual = f"classify-{args.data}"
    if args.judge:
        path = args.out / (args.name or usual) / "checkpoint.npz"
        if not path.exists():
            raise ValueError(f"{path} does not exist: train the classifier first (without --judge)")
        judge(load_judge(path), args.judge)
        return
    plots.require()
    folder = run_folder(args, usual)
    td.seed(args.seed)
    train_set, test_set = DATA[args.data]("train"), DATA[args.data]("test")
    print(f"{args.data}: {len(train_set)} images")
    began = time.perf_counter()
    model = train_judge(train_set, folder, epochs=args.epochs, seed=args.seed)
    print(f"trained {(time.perf_counter() - began) / 60:.1f} minutes")
    predicted = predict(model, test_set.images)
    wrong = np.flatnonzero(predicted != test_set.labels)
    print(f"test accuracy {share(predicted == test_set.labels):.2%}")
    if len(wrong):
        shown = images.grid(test_set.images[wrong[:100]], columns=10)
        images.save_png(folder / "mistakes.png", shown, scale=2)
    losses = {"loss": [r["loss"] for r in read_log(folder / "log.jsonl")]}
    plots.save_curves(folder / "loss.png", losses, title=f"{args.data}: training loss")
    print(f"See loss.png{' and mistakes.png' if len(wrong) else ''} in {folder}.")


def judge(model: Classifier, path: Path) -> None:
    """Of the pictures asked for as class c, how many does the classifier take for one?"""
    drawn, labels = data.load_drawn(path)
    if labels is None:
        raise ValueError(f"{path} holds pictures without labels: there is nothing to agree with")
    agrees = predict(model, drawn) == labels
    for label in np.unique(labels):
        print(f"class {label}: {agrees[labels == label].mean():.1%}")
    print(f"label agreement {share(agrees):.1%} of {len(agrees)} pictures")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="classify-DATA")
    options.add_argument("--data", default="digits", choices=list(DATA), help="to learn from")
    options.add_argument("--epochs", type=number(above=0), default=3.0, help="passes over the data")
    options.add_argument("--judge", type=Path, metavar="NPZ", help="file of examples/sample.py")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
