"""What picture does a classifier have in mind?  Gradient ascent and DeepDream.

    python examples/dream.py runs/vgg-mnist/checkpoint.npz
    python examples/dream.py runs/vgg-mnist/checkpoint.npz --image my.png

Takes a network of examples/classify.py and writes to runs/NAME/ (dream-RUN by default): classes.png
(for each class a picture, grown out of noise, that the network is sure of) and classes.gif (how it
grows), regularisers.png (what becomes of it with each of the regularisers, without, and with some),
channels.png (what channels of each convolution look for) and dream.png (a picture, and into it
drawn what each convolution sees in it).
"""

from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, nn, visualize
from tinydiff.commandline import parser, run, run_folder, whole
from tinydiff.visualize import as_cells, ascend, convolutions, last, log_probability, one_each

DATA = data.LABELLED
STARTS = 4  # for each class: the surest is shown
MOST = 10  # classes or channels
EMPTY = 60  # per cent of the pixels that are put back to the ground
DREAM = 112  # pixels of a dream, which costs as much as 16 digits
RATE = 0.02  # of a dream
CELL = 84  # pixels


def main() -> None:
    args = parse_arguments()
    folder = run_folder(args, f"dream-{args.checkpoint.resolve().parent.name}")
    recogniser = metrics.Recogniser.load(args.checkpoint)
    model, (side, _, colours) = recogniser.model, recogniser.image
    name = args.data or data.learned_from(recogniser.settings, DATA)
    _, test_set = data.train_and_test(name, DATA, side)
    td.seed(args.seed)
    if args.image:
        shown, scene = recogniser.read(args.image), recogniser.read(args.image, DREAM)
    else:
        shown = test_set.images[args.seed % len(test_set)]
        (scene,) = data.shapes("test", 1, side=DREAM, objects=3, seed=args.seed).images
        if colours == 1:
            scene = data.light_on_dark(scene.mean(axis=2, keepdims=True).astype(np.uint8))
    ground = float(np.median(images.to_float(test_set.images[:1000])))

    film, answers = classes(recogniser, ground, args.steps)
    images.save_gif(folder / "classes.gif", [images.grid(x, 5) for x in film[::4]], scale=2)
    tables = {
        "classes": images.captioned_grid(film[-1], answers, 5, scale=4),
        "regularisers": regularisers(recogniser, ground, args.steps),
        "channels": channels(model, shown[None], -(-args.steps // 4)),
        "dream": dreams(model, scene[None], shown[None], -(-args.steps // 16)),
    }
    for title, table in tables.items():
        images.save_png(folder / f"{title}.png", table)
    print(f"See classes.gif, {', '.join(f'{title}.png' for title in tables)} in {folder}.")


def classes(recogniser, ground: float, steps: int) -> tuple[list[np.ndarray], list[str]]:
    """The film of pictures of the first classes, each from its best start, and what is seen."""
    shown = range(len(recogniser.classes))[:MOST]
    target = one_each([log_probability(c) for c in shown] * STARTS)
    settings = {"steps": steps, **together(target, ground)}
    start = noise(recogniser, STARTS * len(shown), ground)
    film = list(visualize.frames(ascend(recogniser.model, start, **settings), "classes"))
    likely = recogniser(film[-1]).reshape(STARTS, len(shown), -1)[:, shown, shown]
    chosen = likely.argmax(axis=0) * len(shown) + shown
    named = [f"{recogniser.classes[c]}, {likely[:, c].max():.1%}" for c in shown]
    return [x[chosen] for x in film], named


def noise(recogniser, count: int, ground: float) -> np.ndarray:
    return visualize.noise((count, *recogniser.image), ground=ground / 2, size=0.2)


def together(target, ground: float) -> dict:
    """All that makes a picture of a class, but variation, which does what blur does."""
    drop = visualize.drop_small(EMPTY, ground=ground)
    often = [visualize.every(4, visualize.blur(0.6)), visualize.every(4, drop)]
    return {
        "target": visualize.jittered(target, 3),
        "along": visualize.fourier(0.5),
        "after": [*often, visualize.decay(0.05, ground=ground), visualize.clip],
    }


def regularisers(recogniser, ground: float, steps: int) -> np.ndarray:
    """A row for each, from the same noise: without any, with one alone, with several."""
    shown = range(len(recogniser.classes))[:MOST]
    target = one_each([log_probability(c) for c in shown])
    start = noise(recogniser, len(shown), ground)
    then = lambda *after: {"after": [*after, visualize.clip]}
    ways = {
        "none": {"after": ()},
        "clipping": {},
        "L2 decay": then(visualize.decay(0.05, ground=ground)),
        "blur": then(visualize.every(4, visualize.blur(0.6))),
        "percentile": then(visualize.every(4, visualize.drop_small(EMPTY, ground=ground))),
        "jitter": {"target": visualize.jittered(target, 3)},
        "variation": {"target": visualize.penalised(target, 1.0, visualize.total_variation)},
        "Fourier": {"along": visualize.fourier(0.5)},
        "together": together(target, ground),
    }
    rows = []
    for way, settings in ways.items():
        settings = {"target": target, "steps": steps, **settings}
        rows.append(last(ascend(recogniser.model, start, **settings), way))
    names = [recogniser.classes[c] for c in shown]
    return images.labelled_grid(as_cells(np.concatenate(rows), CELL), names, list(ways), scale=1)


def channels(model: nn.Module, shown: np.ndarray, steps: int) -> np.ndarray:
    """A row for each convolution, of the channels that the picture excites most: the patch that a
    neuron in the middle of the map likes best, as large as what it sees."""
    cells, layers = [], convolutions(model)
    for layer in layers:
        strongest = visualize.strongest_channels(model, shown, layer, MOST)
        row = visualize.preferred_patches(model, shown, layer, strongest, steps=steps)
        cells.append(np.pad(as_cells(row, CELL), ((0, MOST - len(row)), *[(0, 0)] * 3)))
    names = [f"strongest {k + 1}" for k in range(MOST)]
    return images.labelled_grid(np.concatenate(cells), names, layers, scale=1)


def dreams(model: nn.Module, scene: np.ndarray, guide: np.ndarray, steps: int) -> np.ndarray:
    """The scene; more of what each convolution sees in it; and more of what is like the guide."""
    layers = convolutions(model)
    targets = {layer: visualize.energy(layer) for layer in layers}
    targets["guided"] = visualize.resembling(model, layers[-1], guide)
    settings = {"jitter": 8, "rate": RATE, "steps": steps}
    found = [
        last(visualize.deep_dream(model, scene, target, **settings), f"dream, {name}")
        for name, target in targets.items()
    ]
    return images.captioned_grid(np.concatenate([scene, *found]), ["picture", *targets], 4, scale=2)


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="dream-RUN")
    options.add_argument("checkpoint", type=Path, help="of a run of examples/classify.py")
    options.add_argument("--image", type=Path, help="a picture of your own to dream in")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the model learned from)")
    options.add_argument("--steps", type=whole(2), default=160, help="of gradient ascent")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
