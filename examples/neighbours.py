"""The nearest neighbours of test pictures, by their pixels and by the features of a network.

    python examples/neighbours.py runs/resnet-mnist/checkpoint.npz
    python examples/neighbours.py runs/resnet-mnist/checkpoint.npz --image my.png

Among the pictures that a classifier of examples/classify.py has learned from, it looks for those
that are most like a picture of the test set: of least distance between pixels, and between
features, which the network reads the class from.  It prints which share of the neighbours is of the
right class, and writes neighbours.png to runs/NAME/ (neighbours-RUN by default): on the left a
picture of each class, then its neighbours by pixels and by features, those of a wrong class framed.
With --image it looks for the neighbours of your own picture, and names their classes.
"""

from pathlib import Path

import numpy as np

from tinydiff import data, images, metrics
from tinydiff.commandline import parser, run, run_folder, whole
from tinydiff.visualize import nearest

DATA = data.LABELLED
K = 5  # neighbours
ROWS = 10  # pictures at most in neighbours.png
SCALE = 3
RED = (255, 60, 60)


def main() -> None:
    args = parse_arguments()
    folder = run_folder(args, f"neighbours-{args.checkpoint.resolve().parent.name}")
    recogniser = metrics.Recogniser.load(args.checkpoint)
    name = args.data or data.learned_from(recogniser.settings, DATA)
    known, test_set = data.train_and_test(name, DATA, recogniser.image[0])
    if known.images.shape[1:] != recogniser.image or len(known.classes) != len(recogniser.classes):
        raise ValueError(
            f"{known!r} does not fit the model, which knows pictures {recogniser.image} of "
            f"{len(recogniser.classes)} classes"
        )
    if args.image:
        queries, labels = recogniser.read(args.image)[None], None
    else:
        rng = np.random.default_rng(args.seed)
        chosen = rng.permutation(len(test_set))[: args.count]
        queries, labels = test_set.images[chosen], test_set.labels[chosen]
    both = [metrics.features(recogniser.model, x, progress=True) for x in (queries, known.images)]
    found = {
        "pixels": nearest(queries, known.images, K)[0],
        "features": nearest(*both, K)[0],
    }
    if labels is None:
        for space, indices in found.items():
            print(f"{space}: {', '.join(known.classes[c] for c in known.labels[indices[0]])}")
        rows, names = np.zeros(1, int), [args.image.stem]
    else:
        print(f"{len(queries)} of {test_set.name}, {K} neighbours each; of the right class are")
        for space, indices in found.items():
            right = (known.labels[indices] == labels[:, None]).mean(axis=1)
            error = right.std() / np.sqrt(len(right))
            print(f"{space:<9}{metrics.Estimate(right.mean(), error):.1%}")
        _, rows = np.unique(labels, return_index=True)  # the first of each class
        rows = rows[:ROWS]
        names = [test_set.classes[c] for c in labels[rows]]
    images.save_png(folder / "neighbours.png", table(queries, labels, known, found, rows, names))
    print(f"See neighbours.png in {folder}.")


def table(queries, labels, known: data.Dataset, found: dict, rows, names) -> np.ndarray:
    """A row for each of the queries ``rows``: the query, and its neighbours in each space."""
    cells, empty = [], np.zeros_like(framed(queries[0], False))
    for row in rows:
        cells.append(framed(queries[row], False))
        for indices in found.values():
            cells.append(empty)
            for i in indices[row]:
                wrong = labels is not None and known.labels[i] != labels[row]
                cells.append(framed(known.images[i], wrong))
    titles = ["", *(t for space in found for t in ["", *(f"{space} {n + 1}" for n in range(K))])]
    return images.labelled_grid(np.stack(cells), titles, names, pad=4, scale=1)


def framed(picture: np.ndarray, wrong: bool) -> np.ndarray:
    """The picture in colour, enlarged, in a black frame, or a red one if it is ``wrong``."""
    picture = np.broadcast_to(picture, (*picture.shape[:2], 3))
    border = ((SCALE, SCALE), (SCALE, SCALE))
    colour = RED if wrong else (0, 0, 0)
    large = picture.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    channels = [np.pad(large[..., c], border, constant_values=colour[c]) for c in range(3)]
    return np.stack(channels, axis=-1)


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="neighbours-RUN")
    options.add_argument("checkpoint", type=Path, help="of a run of examples/classify.py")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the model learned from)")
    options.add_argument("--count", type=whole(1), default=1000, help="test pictures to look at")
    options.add_argument("--image", type=Path, help="a picture of your own")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
