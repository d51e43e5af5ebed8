"""What has a layer kept of a picture?  Inversion, textures, and pictures painted in a style.

    python examples/style.py runs/vgg-shapes/checkpoint.npz
    python examples/style.py runs/vgg-shapes/checkpoint.npz --image my.png --style painting.jpg

Takes a network of examples/classify.py, best one that knows colours, and writes to runs/NAME/
(style-RUN by default): inversion.png (a picture, and what comes back of it from each layer),
textures.png (textures, and others that have their Gram matrices, in one layer and in more) and
style.png (pictures, and the same painted in each of the textures).  --image is a picture of your
own to look at and to paint, --style one whose style to take.
"""

from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, nn, visualize
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.data import textures
from tinydiff.data.colours import COLOURS
from tinydiff.visualize import as_cells, last

DATA = data.LABELLED
TEXTURES = {  # as in tinydiff/data/textures.py, from one colour to another
    "stripes": (textures.stripes, "yellow", "black"),
    "checks": (textures.checks, "red", "white"),
    "spots": (textures.spots, "blue", "pink"),
    "clouds": (textures.clouds, "purple", "orange"),
}
SIDE, TEXTURE = 96, 64  # pixels of what is painted, and of a texture
PERIOD = 9  # pixels from stripe to stripe
SCENES = 3
CELL = 168  # pixels


def main() -> None:
    args = parse_arguments()
    folder = run_folder(args, f"style-{args.checkpoint.resolve().parent.name}")
    recogniser = metrics.Recogniser.load(args.checkpoint)
    model, (side, _, colours) = recogniser.model, recogniser.image
    td.seed(args.seed)
    if args.image:
        shown, content = recogniser.read(args.image), recogniser.read(args.image, SIDE)[None]
    else:
        name = args.data or data.learned_from(recogniser.settings, DATA)
        _, test_set = data.train_and_test(name, DATA, side)
        shown = test_set.images[args.seed % len(test_set)]
        content = data.shapes("test", SCENES, side=SIDE, objects=(3, 4), seed=args.seed).images
    if args.style:
        styles = {args.style.stem: recogniser.read(args.style, TEXTURE)}
    else:
        styles = {name: drawn(*kind) for name, kind in TEXTURES.items()}
    if colours == 1:
        content = content.mean(axis=3, keepdims=True).astype(np.uint8)
        styles = {k: x.mean(axis=2, keepdims=True).astype(np.uint8) for k, x in styles.items()}
    tables = {
        "inversion": kept(model, shown[None], args.steps),
        "textures": made_alike(model, styles, args.steps),
        "style": painted(model, content, styles, args.weight, args.steps),
    }
    for title, table in tables.items():
        images.save_png(folder / f"{title}.png", table)
    print(f"See {', '.join(f'{title}.png' for title in tables)} in {folder}.")


def drawn(texture, one: str, other: str) -> np.ndarray:
    """A picture of a texture, a little turned, (TEXTURE, TEXTURE, 3)"""
    place = np.arange(TEXTURE, dtype=np.float32) + 0.5
    x, y = 0.8 * place + 0.6 * place[:, None], 0.8 * place[:, None] - 0.6 * place
    share = texture(x, y, PERIOD, np.random.default_rng(0))[..., None]
    first, second = (np.float32(COLOURS[name]).mean(axis=0) for name in (one, other))
    return np.rint(first + share * (second - first)).astype(np.uint8)


def kept(model: nn.Module, shown: np.ndarray, steps: int) -> np.ndarray:
    """The picture, and what comes back from each convolution and from the logits."""
    found = {"picture": shown}
    for layer in visualize.convolutions(model):
        found[layer] = last(visualize.invert(model, shown, layer, steps=steps // 2), layer)
    film = visualize.invert(model, shown, "", steps=steps // 2, smooth=1.0)
    found["logits"] = last(film, "logits")
    cells = as_cells(np.concatenate(list(found.values())), CELL)
    return images.captioned_grid(cells, list(found), 4, scale=1)


def made_alike(model: nn.Module, styles: dict[str, np.ndarray], steps: int) -> np.ndarray:
    """A row for each style: its picture, and others that are like it in more and more layers."""
    known = np.stack(list(styles.values()))
    columns, layers = {"texture": known}, visualize.last_of_each_size(model, known)
    for depth, layer in enumerate(layers, 1):
        film = visualize.texture(model, known, layers[:depth], steps=steps)
        columns[f"to {layer}"] = last(film, f"textures, {layer}")
    return table(columns, list(styles))


def painted(
    model: nn.Module, content: np.ndarray, styles: dict[str, np.ndarray], weight: float, steps: int
) -> np.ndarray:
    """A row for each picture: as it is, and in each style."""
    columns, layers = {"picture": content}, visualize.last_of_each_size(model, content)
    settings = {"kept": layers[min(1, len(layers) - 1)], "layers": layers, "weight": weight}
    for name, style in styles.items():
        film = visualize.stylise(model, content, style[None], steps=steps, **settings)
        columns[name] = last(film, f"painting, {name}")
    return table(columns)


def table(columns: dict[str, np.ndarray], rows: list[str] | tuple = ()) -> np.ndarray:
    cells = np.stack(list(columns.values()), axis=1)
    cells = as_cells(cells.reshape(-1, *cells.shape[2:]), CELL)
    return images.labelled_grid(cells, list(columns), rows, scale=1)


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="style-RUN")
    options.add_argument("checkpoint", type=Path, help="of a run of examples/classify.py")
    options.add_argument("--image", type=Path, help="a picture of your own to paint")
    options.add_argument("--style", type=Path, help="a picture of your own whose style to take")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the model learned from)")
    options.add_argument("--weight", type=number(above=0), default=10.0, help="of the style")
    options.add_argument("--steps", type=whole(2), default=400, help="of Adam, on the pixels")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
