"""Compare networks that were defended in different ways, and see what they see.

    python examples/defences.py runs/defend-*-mnist/checkpoint.npz

The checkpoints are of examples/defend.py, classify.py or certify.py; all learned from pictures of
the same kind.  What the columns of the table mean is said by examples/defend.py --help.

Writes to runs/NAME/ (defences-RUN by default, of the first): table.txt; seen.png (what PGD makes of
a test picture of each class, against each network, and what that sees there); gradients.png (how
much surer each is of the class where a pixel becomes brighter: red, or darker: blue; if a network
is hard to fool, that looks like the thing itself).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinydiff import adversarial, data, images
from tinydiff.adversarial import on_pictures
from tinydiff.adversarial.network import margin
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.metrics import Recogniser
from tinydiff.visualize import as_cells, as_pictures, gradient

DATA = data.LABELLED
SHOWN = 10  # pictures, each of another class
CELL = 84  # pixels of a picture


def main() -> None:
    args = parse_arguments()
    first, *_ = paths = args.checkpoint
    folder = run_folder(args, f"defences-{first.resolve().parent.name}")
    known = {path.resolve().parent.name: Recogniser.load(path) for path in paths}
    one, *_ = known.values()
    name = args.data or data.learned_from(one.settings, DATA)
    _, test_set = data.train_and_test(name, DATA, one.image[0])
    for each in known.values():
        each.take_names(test_set)
    eps = args.eps or adversarial.usual_eps(name)
    some = data.first_of(test_set, args.count)
    found = {key: measured(each, some, eps, args) for key, each in known.items()}
    table = (
        f"{len(some)} pictures of {some.name}, ε {eps:.3g}; * {min(args.few, len(some))} of them\n"
        f"{adversarial.robustness_table(found)}\n"
    )
    places = [np.flatnonzero(some.labels == c)[0] for c in np.unique(some.labels)[:SHOWN]]
    shown = some.images[places], some.labels[places]
    images.save_png(folder / "seen.png", seen(known, *shown, eps, args.seed))
    images.save_png(folder / "gradients.png", gradients(known, *shown))
    (folder / "table.txt").write_text(table)
    print(f"{table}See table.txt, seen.png and gradients.png in {folder}.")


def measured(recogniser: Recogniser, some: data.Dataset, eps: float, args):
    x, model = images.to_float(some.images, (0, 1)), on_pictures(recogniser.model)
    sigma = recogniser.settings.get("recipe", {}).get("noise", args.sigma)
    settings = {"eps": eps, "sigma": sigma, "few": args.few, "seed": args.seed, "progress": True}
    return adversarial.robustness(model, x, some.labels, radius=args.radius, **settings)


def seen(known: Mapping[str, Recogniser], pictures, y, eps: float, seed: int) -> np.ndarray:
    """The pictures, and in a row for each network what it sees in them under PGD."""
    x = images.to_float(pictures, (0, 1))
    dark = np.zeros_like(pictures[:1])  # above a network's name
    cells, captions = [dark, pictures], ["", *names(known, y)]
    for name, recogniser in known.items():
        found = adversarial.under_pgd(on_pictures(recogniser.model), x, y, eps, seed=seed)
        attacked = images.to_uint8(found.pictures, (0, 1))
        cells += [dark, attacked]
        captions += [name.removeprefix("defend-"), *recogniser.verdicts(attacked)]
    cells = as_cells(np.concatenate(cells), CELL)
    return images.captioned_grid(cells, captions, 1 + len(pictures), scale=1)


def gradients(known: Mapping[str, Recogniser], pictures, y) -> np.ndarray:
    """The pictures, and in a row for each network the slope of the margin of their classes."""
    parts = [as_cells(pictures, CELL)]
    for recogniser in known.values():
        slope = gradient(recogniser.model, pictures, lambda network, x: margin(network(x), y))
        parts.append(as_cells(as_pictures(slope, signed=True), CELL))
    return images.labelled_grid(np.concatenate(parts), names(known, y), ["", *known], scale=1)


def names(known: Mapping[str, Recogniser], y) -> list[str]:
    one, *_ = known.values()
    return [one.classes[c] for c in y]


def parse_arguments():
    name = "defences-RUN, of the first"
    options = parser(__doc__, "--seed", "--name", "--out", name=name)
    options.add_argument("checkpoint", type=Path, nargs="+", help="of a run of a classifier")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the first learned from)")
    size = number(above=0, most=1)
    options.add_argument("--eps", type=size, help="ε (default: 0.3; of clothes 0.1, colour 8/255)")
    options.add_argument("--count", type=whole(1), default=1000, help="test pictures")
    options.add_argument("--few", type=whole(1), default=200, help="pictures for what takes long")
    options.add_argument("--sigma", type=size, default=0.25, help="noise, where a run names none")
    options.add_argument("--radius", type=number(above=0), default=0.5, help="of certainty, in L2")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
