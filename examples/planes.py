"""Decision boundaries among pictures: planes through their space, before and after smoothing.

    python examples/planes.py runs/classify-mnist/checkpoint.npz
    python examples/planes.py CHECKPOINT --other runs/noise-0.25-mnist/checkpoint.npz
    python examples/planes.py CHECKPOINT --image a.png b.png c.png             pictures of yours

The checkpoints are of classifiers (classify.py, certify.py, defend.py).  One plane goes through
three pictures, of three classes; another from the first of them along the gradient of the loss and
along a direction drawn at random.  They are looked at by each network, and by it smoothed: asked
about noisy copies of a picture, of which most decide.

Writes to runs/NAME/ (planes-RUN by default): through.png and gradient.png, a column for each
network, itself above, smoothed below: a colour for each class, darker where it is surer; the axes
are distances in L2.  And table.txt, how far it is to the boundary from test pictures that are seen
rightly, on the average: along the way that DeepFool finds, and, smoothed or not, along that to
another picture.  What is no picture, since some pixel leaves [0, 1], is clipped to be looked at: in
through.png it is paler, in gradient.png it is all but the middle.
"""

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinydiff import data, images, plots
from tinydiff.adversarial import (
    Plane,
    Smoothed,
    classes_seen,
    crossing,
    distance_to_boundary,
    first_pictures,
    map_of,
    on_pictures,
    probabilities,
)
from tinydiff.adversarial.network import loss_gradient
from tinydiff.backend import asarray, to_numpy
from tinydiff.commandline import number, parser, row, run, run_folder, tell, whole
from tinydiff.metrics import Recogniser

DATA = data.LABELLED
GRID, DRAWS = (71, 29), 60  # points a side, of a network, and smoothed, by so many draws
AROUND = 0.25  # margin of one plane, a share of its size
REACH = 4.0  # how many times the distance to the boundary the other goes
SHOWN = 0.13  # side of the pictures, as a share
COLOURS = np.array(
    [
        *([0.12, 0.42, 0.78], [0.95, 0.50, 0.05], [0.15, 0.60, 0.25], [0.82, 0.12, 0.17]),
        *([0.50, 0.30, 0.75], [0.50, 0.30, 0.20], [0.90, 0.40, 0.72], [0.00, 0.60, 0.66]),
        *([0.75, 0.66, 0.05], [0.20, 0.22, 0.42]),
    ]
)


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder = run_folder(args, f"planes-{args.checkpoint.resolve().parent.name}")
    own, networks = Recogniser.load(args.checkpoint), {}
    name = args.data or data.learned_from(own.settings, DATA)
    _, test_set = data.train_and_test(name, DATA, own.image[0])
    for path in [args.checkpoint, *args.other]:
        other = Recogniser.load(path)
        other.take_names(test_set)
        networks[path.resolve().parent.name] = on_pictures(other.model)
    x, y = first_pictures(test_set, args.count)
    seen = {name: (partial(probabilities, net), votes(net, args)) for name, net in networks.items()}
    model = on_pictures(own.model)
    if args.image:
        three = images.to_float(np.stack([own.read(path) for path in args.image]), (0, 1))
    else:
        right = np.flatnonzero(classes_seen(model, x) == y)
        _, places = np.unique(y[right], return_index=True)  # the first of each class
        if len(places) < 3:
            raise ValueError(f"--count {args.count}: fewer than three classes are seen rightly")
        three = x[right[np.sort(places)[:3]]]
    for name, plane, view in planes(model, three, args.seed):
        figure = draw(plane, view, seen, three, classes_seen(model, three), test_set.classes, name)
        plots.save_figure(folder / f"{name}.png", figure, dpi=90)
    head = row(f"{len(x)} test pictures", "right", "to DeepFool's", "to another's", "smoothed")
    rows = (distances(name, networks[name], seen[name], x, y) for name in networks)
    tell(folder / "table.txt", chain([head], rows))
    print(f"See {folder}.")


def votes(model, args) -> Callable:
    """answer(x), the shares of the draws in which the classes are seen, (N, K), always the same"""
    smoothed, shown = Smoothed(model, args.sigma), {"progress": f"{DRAWS} draws"}

    def answer(x):
        return smoothed.counts(x, DRAWS, rng=np.random.default_rng(args.seed), **shown) / DRAWS

    return answer


def planes(model, three: np.ndarray, seed: int):
    """(name, plane, ((u, u'), (v, v')), from where to where it is looked at)"""
    a, b, c = three.astype(np.float64)
    through = Plane(a, b - a, c - a)
    corners = through.coordinates(three)
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = AROUND * (high - low).max()
    yield "through", through, np.stack([low - room, high + room], axis=1)
    seen, first = classes_seen(model, three[:1]), three[:1]
    slope = to_numpy(loss_gradient(model, asarray(first), seen))[0]
    chance = np.random.default_rng(seed).standard_normal(a.shape)
    reach = REACH * distance_to_boundary(model, first, seen)[0]
    yield "gradient", Plane(a, slope, chance), np.array([[-reach, reach]] * 2)


def draw(plane: Plane, view, seen: dict, three: np.ndarray, classes: np.ndarray, names, kind: str):
    """A figure: a column for each network, itself above, smoothed below."""
    tall = np.ptp(view[1]) / np.ptp(view[0])
    figure, met = plots.new_figure(1.2 + 4.6 * len(seen), 1.5 + 2 * 4.1 * tall), set()
    colours = np.resize(COLOURS, (len(names), 3))  # after the tenth from the first again
    at = plane.coordinates(three)[: 3 if kind == "through" else 1]
    columns = figure.subplots(2, len(seen), squeeze=False).T
    labels = {
        "through": ("to the second picture, L2", "to the third, L2"),
        "gradient": ("along the gradient, L2", "a random direction, L2"),
    }[kind]
    bar = tqdm(total=columns.size, desc=f"{kind}.png")
    for column, (name, answers) in zip(columns, seen.items(), strict=True):
        for axes, answer, side, how in zip(column, answers, GRID, ("", ", smoothed"), strict=True):
            found = map_of(plane, answer, *(np.linspace(*ends, side) for ends in view))
            ahead = [found.ahead(k) for k in range(len(names))]
            veiled = ~found.inside if kind == "through" else None
            plots.draw_map(axes, found.u, found.v, found.coloured(colours), ahead, veiled)
            for place, picture, k in zip(at, three, classes, strict=False):
                plots.draw_inset(axes, place, SHOWN * np.ptp(view[0]), picture, colours[k])
            axes.set(title=name + how, xlabel=labels[0], ylabel=labels[1])
            met |= set(found.shares.argmax(axis=-1).flat)
            bar.update()
    style = {"s": 90, "marker": "s"}
    marks = [axes.scatter([], [], color=colours[k], label=names[k], **style) for k in sorted(met)]
    figure.legend(handles=marks, loc="outside right center", title="seen as")
    return figure


def distances(name: str, model, answers, x: np.ndarray, y: np.ndarray) -> str:
    """Means over the pictures that are seen rightly, by the network and by the smoothed one."""
    seen = [lambda z, answer=answer: answer(z).argmax(axis=1) for answer in answers]
    right = np.flatnonzero((seen[0](x) == y) & (seen[1](x) == y))
    x, y = x[right], y[right]
    if len(set(y)) < 2:  # there is no way to another
        return row(name, str(len(x)))
    ends = [np.flatnonzero(y != k) for k in y]
    ends = x[[these[i % len(these)] for i, these in enumerate(ends)]]
    near = distance_to_boundary(model, x, y, progress=f"DeepFool, {name}")
    far = [near, *(crossing(of, x, ends, tolerance=0.02) for of in seen)]
    return row(name, str(len(x)), *(f"{np.mean(d[np.isfinite(d)]):.2f}" for d in far))


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="planes-RUN")
    options.add_argument("checkpoint", type=Path, help="of a classifier")
    options.add_argument("--other", type=Path, nargs="+", default=[], help="others, to compare")
    options.add_argument("--image", type=Path, nargs=3, metavar=tuple("ABC"), help="three pictures")
    options.add_argument("--sigma", type=number(above=0, most=1), default=0.25, help="of the noise")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the model learned from)")
    options.add_argument("--count", type=whole(10), default=100, help="test pictures of the table")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
