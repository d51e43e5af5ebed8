"""Look inside a classifier: its filters, what its neurons answer to, which pixels decide.

    python examples/inside.py runs/vgg-mnist/checkpoint.npz
    python examples/inside.py runs/vgg-mnist/checkpoint.npz --image my.png
    python examples/inside.py runs/vgg-mnist/checkpoint.npz --layer stages.1.conv1 --unit 7

Takes a network of examples/classify.py and pictures it has not learned from, and writes to
runs/NAME/ (inside-RUN by default): filters.png (the weights of the first convolution, red above
zero, blue below), activations.png (what channels answer to a picture), patches.png (what channels
of a layer answer to most, and what in that speaks for their neuron) and attributions.png (which
pixels speak for the class it sees, by eight methods).  Guided backpropagation and deconvnet need a
network with ReLU, as --model vgg is, and are left out for others.
"""

from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, nn, visualize
from tinydiff.commandline import parser, run, run_folder, whole
from tinydiff.visualize import Unit, as_cells, as_pictures, convolutions, gradient, logit

DATA = data.LABELLED
ROWS = 10  # at most, of pictures or channels
STRONGEST = 9  # channels of a layer in activations.png
BEST = 6  # patches of a channel
CELL = 84  # pixels


def main() -> None:
    args = parse_arguments()
    folder = run_folder(args, f"inside-{args.checkpoint.resolve().parent.name}")
    recogniser = metrics.Recogniser.load(args.checkpoint)
    name = args.data or data.learned_from(recogniser.settings, DATA)
    _, test_set = data.train_and_test(name, DATA, recogniser.image[0])
    td.seed(args.seed)
    rng = np.random.default_rng(args.seed)
    some = test_set.images[rng.permutation(len(test_set))[: args.count]]
    model = recogniser.model
    if args.image:
        shown = recogniser.read(args.image)[None]
    else:
        _, first = np.unique(metrics.predict(model, some), return_index=True)
        shown = some[first[:ROWS]]
    filters = as_pictures(visualize.filters(model), signed=True, percentile=100)
    half = max(some.shape[1:3]) / 2
    layer = args.layer or visualize.deepest_within(model, some, half)
    tables = {
        "filters": images.grid(as_cells(filters, CELL // 2), 8),
        "activations": activations(model, shown[:1]),
        "patches": patches(model, some, layer, args.unit),
        "attributions": attributions(recogniser, shown),
    }
    for title, table in tables.items():
        images.save_png(folder / f"{title}.png", table)
    print(f"See {', '.join(f'{title}.png' for title in tables)} in {folder}.")


def activations(model: nn.Module, picture: np.ndarray) -> np.ndarray:
    """A row for each convolution: the picture, and those of its channels whose answers differ most
    from place to place."""
    cells = []
    for layer in convolutions(model):
        strongest = visualize.strongest_channels(model, picture, layer, STRONGEST)
        maps = visualize.activation_maps(model, picture, layer)[0][..., strongest]
        shown = as_pictures(maps.transpose(2, 0, 1), signed=False)
        row = np.concatenate([as_cells(picture, CELL), as_cells(shown, CELL)])
        cells.append(np.pad(row, ((0, 1 + STRONGEST - len(row)), (0, 0), (0, 0), (0, 0))))
    titles = ["picture", *(f"strongest {k + 1}" for k in range(STRONGEST))]
    return images.labelled_grid(np.concatenate(cells), titles, convolutions(model), scale=1)


def patches(model: nn.Module, some: np.ndarray, layer: str, unit: int | None) -> np.ndarray:
    """A row for each channel: its patches, and what in them speaks for the neuron."""
    found = visualize.top_patches(model, some, layer, unit if unit is None else [unit], count=BEST)
    found = sorted(found, key=lambda best: -best.numbers.mean())[:ROWS]
    rule, cells = "guided" if visualize.has_relu(model, some, Unit(layer)) else "plain", []
    for best in found:
        ways = visualize.patch_gradients(model, some, best, rule=rule)
        cells += [as_cells(best.patches, CELL), as_cells(as_pictures(ways, signed=True), CELL)]
    kinds = ("patch", {"guided": "guided", "plain": "gradient"}[rule])
    titles = [f"{kind} {k + 1}" for kind in kinds for k in range(len(found[0].patches))]
    names = [f"channel {best.channel}" for best in found]
    return images.labelled_grid(np.concatenate(cells), titles, names, corner=layer, scale=1)


def attributions(recogniser: metrics.Recogniser, shown: np.ndarray) -> np.ndarray:
    """A row for each picture: what speaks for the class it is taken for."""
    model, cells = recogniser.model, []
    deepest, patch = (
        visualize.last_of_each_size(model, shown)[-1],
        max(2, min(shown.shape[1:3]) // 5),
    )
    rules = ("guided", "deconvnet") if visualize.has_relu(model, shown, logit(0)) else ()
    for x, label in zip(shown[:, None], metrics.predict(model, shown).tolist(), strict=True):
        given = model, x, logit(label)
        signed = {
            "input x grad": visualize.input_times_gradient(*given),
            "SmoothGrad": visualize.smooth_grad(*given),
            "integrated": visualize.integrated_gradients(*given),
            **{rule: gradient(*given, rule=rule) for rule in rules},
        }
        ground = float(np.median(images.to_float(x)))
        drops = visualize.occlusion(*given, patch=patch, stride=max(1, patch // 3), fill=ground)
        row = {
            "picture": x,
            "saliency": as_pictures(visualize.saliency(*given), signed=False),
            **{title: as_pictures(way, signed=True) for title, way in signed.items()},
            "Grad-CAM": as_pictures(visualize.grad_cam(*given, deepest), signed=False, over=x),
            "occlusion": as_pictures(drops, signed=True, over=x),
        }
        cells += [as_cells(cell, CELL) for cell in row.values()]
    names = recogniser.verdicts(shown)
    return images.labelled_grid(np.concatenate(cells), list(row), names, corner="seen", scale=1)


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="inside-RUN")
    options.add_argument("checkpoint", type=Path, help="of a run of examples/classify.py")
    options.add_argument("--image", type=Path, help="a picture of your own, instead of the data's")
    options.add_argument(
        "--layer", help="of patches.png (default: the last that sees up to a half)"
    )
    options.add_argument("--unit", type=whole(0), help="the one channel to be in patches.png")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the model learned from)")
    options.add_argument("--count", type=whole(1), default=1000, help="test pictures to look at")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
