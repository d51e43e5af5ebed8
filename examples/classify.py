"""Train a small classifier, and let it judge what a diffusion model drew.

    python examples/classify.py --data mnist                      train, test, show the mistakes
    python examples/classify.py --data mnist --judge samples.npz  does it see the class asked for?

Writes to runs/NAME/: loss.png, mistakes.png (test images it got wrong), the log and checkpoint.
"""

import argparse
import zipfile
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, ops, optim, plots
from tinydiff.backend import asarray, to_numpy
from tinydiff.commandline import number, run, whole
from tinydiff.models import Classifier
from tinydiff.training import Trainer, load, read_log, train, trained_weights

DATA = {"digits": data.digits, "mnist": data.mnist, "fashion-mnist": data.fashion_mnist}
BATCH, PEAK = 128, 4e-3


def main() -> None:
    args = parse_arguments()
    folder = args.out / (args.name or f"classify-{args.data}")
    if args.judge:
        judge(load_classifier(folder / "checkpoint.npz"), args.judge)
        return
    plots.require()
    td.seed(args.seed)
    train_set, test_set = DATA[args.data]("train"), DATA[args.data]("test")
    batches = data.Batches(train_set, BATCH, seed=args.seed)
    steps = max(1, round(args.epochs * len(batches)))
    shape = {"in_channels": train_set.images.shape[3], "num_classes": len(train_set.classes)}
    model = Classifier(**shape)
    trainer = Trainer(
        model,
        lambda x, y: ops.cross_entropy(model(x), y, label_smoothing=0.05),
        batches,
        optim.AdamW(model.parameters(), lr=PEAK),
        schedule=optim.one_cycle(PEAK, steps),
        ema=optim.EMA(model, decay=0.998),
    )
    settings = {"data": args.data, "model": shape, "steps": steps, "seed": args.seed}
    print(f"{args.data}: {len(train_set)} images, {model.num_parameters():,} parameters")
    seconds = sum(record.seconds for record in train(trainer, steps, folder, settings=settings))
    print(f"trained {seconds / 60:.1f} minutes, up to step {trainer.step}")
    with trainer.ema.swapped():
        predicted = predict(model, test_set)
    wrong = np.flatnonzero(predicted != test_set.labels)
    print(f"test accuracy {1 - len(wrong) / len(test_set):.2%}")
    if len(wrong):
        shown = images.grid(test_set.images[wrong[:100]], columns=10)
        images.save_png(folder / "mistakes.png", shown, scale=2)
    losses = {"loss": [r["loss"] for r in read_log(folder / "log.jsonl")]}
    plots.save_curves(folder / "loss.png", losses, title=f"{args.data}: training loss")
    print(f"See loss.png{' and mistakes.png' if len(wrong) else ''} in {folder}.")


def predict(model: Classifier, dataset: data.Dataset) -> np.ndarray:
    """The most likely class of each image (N,)"""
    model.eval()
    with td.no_grad(), td.team_of(model):
        parts = [
            to_numpy(model(asarray(x)).data).argmax(axis=1)
            for x, _ in data.ordered(dataset, batch_size=250)
        ]
    return np.concatenate(parts)


def load_classifier(path: Path) -> Classifier:
    if not path.exists():
        raise ValueError(f"{path} does not exist: train the classifier first (without --judge)")
    state = load(path)
    try:
        model = Classifier(**state["settings"]["model"])
        model.load_state_dict(trained_weights(state))
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"{path} is not a classifier's: give another --name") from None
    return model


def judge(model: Classifier, path: Path) -> None:
    """Of the pictures asked for as class c, how many does the classifier take for one?"""
    try:
        with np.load(path, allow_pickle=False) as file:
            drawn = data.Dataset(path.stem, file["images"])
            labels = file["labels"].astype(np.int64).reshape(len(drawn))
    except (LookupError, TypeError, ValueError, EOFError, zipfile.BadZipFile):
        raise ValueError(f"{path} is not a file that examples/sample.py has written") from None
    if labels.min(initial=0) < 0:
        raise ValueError(f"{path} holds pictures without labels: there is nothing to agree with")
    agrees = predict(model, drawn) == labels
    for label in np.unique(labels):
        print(f"class {label}: {agrees[labels == label].mean():.1%}")
    error = np.sqrt(agrees.mean() * (1 - agrees.mean()) / len(agrees))
    print(f"label agreement {agrees.mean():.1%} ± {error:.1%} of {len(agrees)} pictures")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="digits", choices=list(DATA))
    parser.add_argument("--epochs", type=number(above=0), default=3.0, help="passes over the data")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--judge", type=Path, metavar="NPZ", help="file of examples/sample.py")
    parser.add_argument("--name", help="name of the run (default: classify-DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
