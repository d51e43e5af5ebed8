"""How good are drawn pictures?  A table of metrics, each with its standard error.

    python examples/evaluate.py runs/mnist/checkpoint.npz          draws 1,000 pictures and judges
    python examples/evaluate.py samples.npz --data mnist           a file of examples/sample.py
    python examples/evaluate.py runs/mnist/checkpoint.npz --count 10000 --cas
    python examples/evaluate.py runs/photos/checkpoint.npz --data PATH/TO/photos

Pictures are compared with the test set in the features of a classifier, the judge, which comes
from runs/classify-DATA/ (examples/classify.py) or is trained there first.  Beside each number
stands that of as many real pictures, from the training set: no model can ask for better.  All
have the same mix of classes.  Of a folder of pictures, one sub-folder a class, every tenth of each
class is the test set, and the judge learns from the others.

Fréchet distance   of means and covariances, its bias taken away: quality and variety in one
precision, recall  drawn pictures that look real; real ones that look like something drawn
label agreement    drawn pictures that the judge takes for what was asked for
accuracy score     (--cas) of a classifier that learns from drawn pictures, on the test set
"""

from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, metrics
from tinydiff.commandline import check_writable, number, parser, run, whole
from tinydiff.diffusion import Pipeline
from tinydiff.diffusion.samplers import SAMPLERS

DATA = data.LABELLED
LEAST = 100  # pictures; of fewer, little can be said


def main() -> None:
    args = parse_arguments()
    loaded = data.load_drawn(args.source) if data.is_drawn(args.source) else None
    pipeline = None if loaded else Pipeline.load(args.source)
    name = args.data or (pipeline and pipeline.learned_from(DATA))
    if name is None:
        known = ", ".join(DATA)
        raise ValueError(f"--data: which pictures should they be like?  {known}, or a folder")
    folder = args.out / f"classify-{data.short_name(name, DATA)}"
    if not (folder / "checkpoint.npz").exists():
        check_writable(folder)
    shape = loaded[0].shape[1:] if loaded else pipeline.image
    train_set, test_set = data.train_and_test(name, DATA, shape[0])
    wanted = test_set.images.shape[1:]
    if shape != wanted:
        raise ValueError(f"{args.source}: pictures of {shape}, those of {name} are {wanted}")
    classes = pipeline.classes if pipeline else ()
    if classes and classes != test_set.classes:
        raise ValueError(
            f"{args.source}: the model draws {', '.join(classes)}, but the classes of {name} are "
            f"{', '.join(test_set.classes)}"
        )
    for what, pictures in ((args.source, loaded and loaded[0]), (test_set.name, test_set)):
        if pictures is not None and len(pictures) < LEAST:
            raise ValueError(f"{what} holds {len(pictures)} pictures, expected {LEAST} or more")
    judge = metrics.judge_of(train_set, folder)
    pictures, labels = loaded or draw(pipeline, args)

    rng = np.random.default_rng(args.seed)
    if labels is None:
        order, real, own = (
            rng.permutation(len(x))[: len(pictures)] for x in (pictures, test_set, train_set)
        )
    else:  # sorted by class, for `evenly`
        order = np.argsort(labels, kind="stable")
        real = metrics.same_mix(test_set, labels, rng)
        own = metrics.same_mix(train_set, labels, rng, most=1)
    found = metrics.features(judge, test_set.images[real], progress=True)
    print(f"{len(pictures)} pictures against {len(found)} of {test_set.name}")

    def measured(images, given, chosen):
        given = None if labels is None else given[chosen]
        mix = None if labels is None else (test_set.labels[real], given)
        return measure(judge, found, test_set, images[chosen], mix, args)

    drawn = measured(pictures, labels, order)
    yardstick = measured(train_set.images, train_set.labels, own)
    print(f"{'':<18}{'drawn':>20}{'training set':>20}")
    for row, estimate in drawn.items():
        spec = ".4f" if row == "Fréchet distance" else ".2%"
        print(f"{row:<18}{format(estimate, spec):>20}{format(yardstick[row], spec):>20}")


def measure(judge, real, test_set, pictures, mix, args) -> dict[str, metrics.Estimate]:
    """All there is to say of some pictures: name of the metric, value and error.

    real  features of the pictures of the test set to compare with
    mix   the labels of both, if there are any
    """
    found = metrics.features(judge, pictures, progress=True)
    rows = {"Fréchet distance": metrics.unbiased_frechet_distance(real, found, labels=mix)}
    n = min(len(real), len(found))
    pair = (metrics.evenly(x, n) for x in (real, found))
    rows["precision"], rows["recall"] = metrics.precision_recall(*pair)
    if mix is None:
        return rows
    labels = mix[1]
    rows["label agreement"] = metrics.label_agreement(judge, pictures, labels)
    if args.cas:
        td.seed(args.seed)
        drawn = data.Dataset("drawn", pictures, labels, test_set.classes)
        rows["accuracy score"] = metrics.classifier_accuracy_score(
            drawn, test_set, seed=args.seed, progress=True
        )
    return rows


def draw(pipeline: Pipeline, args):
    """Pictures and their labels, as many of each class."""
    classes = len(pipeline.classes)
    labels = np.sort(np.arange(args.count) % classes) if classes else None
    pictures = pipeline.draw(
        args.count,
        labels,
        sampler=args.sampler,
        steps=args.steps,
        guidance=args.guidance,
        rng=np.random.default_rng(args.seed),
        progress=True,
    )
    return pictures, labels


def parse_arguments():
    options = parser(__doc__, "--seed", "--out")
    options.add_argument("source", type=Path, help="a checkpoint, or pictures in .npz")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the model learned from)")
    options.add_argument("--cas", action="store_true", help="accuracy score: some minutes more")
    options.add_argument("--count", type=whole(LEAST), default=1000, help="pictures to draw")
    options.add_argument("--sampler", default="ddpm", choices=list(SAMPLERS), help="to draw with")
    options.add_argument("--steps", type=whole(1), default=50, help="of the sampler")
    options.add_argument("--guidance", type=number(), default=1.0, help="1: plain conditional")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
