"""Edit test pictures with a diffusion model that was never trained for it.

    python examples/edit.py runs/mnist/checkpoint.npz

Writes to runs/NAME/ (edit-DATA by default), in each row what becomes of one picture:

inpainting.png     the picture; its lower half hidden, drawn by mere replacement of the upper one,
                   and by RePaint, four times
sdedit.png         blocks made a picture, or another class of it: more and more strength
variations.png     by DDIM inversion and fresh noise: more and more of it
interpolation.png  from one picture to another, by way of the noises that DDIM makes them of
"""

from collections import deque

import numpy as np
from tqdm import tqdm

from tinydiff import data, images
from tinydiff.backend import to_numpy
from tinydiff.commandline import parser, run, run_folder
from tinydiff.diffusion import Pipeline, inpaint, interpolate, sdedit, variations
from tinydiff.diffusion import classifier_free as told
from tinydiff.diffusion import denoiser as told_nothing

DATA = data.MNIST_LIKE
STEPS, RESAMPLINGS, DRAWN = 50, 5, 4
STRENGTHS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ETAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
WEIGHTS = np.linspace(0, 1, 9)
BLOCKS, SIDE = (2, 4, 8), 4  # classes that are shown as blocks, so large
PAIRS = ((3, 8), (1, 7), (4, 9), (0, 6))  # classes that one can turn into the other


def main() -> None:
    usual = ("checkpoint", "--seed", "--name", "--out")
    args = parser(__doc__, *usual, name="edit-DATA").parse_args()
    pipeline = Pipeline.load(args.checkpoint)
    name = pipeline.learned_from(DATA)
    folder = run_folder(args, f"edit-{name}")
    dataset, rng = DATA[name]("test"), np.random.default_rng(args.seed)
    net, schedule = (pipeline.model.eval(), pipeline.diffusion), pipeline.diffusion.schedule

    def pictures(classes) -> np.ndarray:
        """One test picture of each class, in [−1, 1]"""
        found = [rng.choice(np.flatnonzero(dataset.labels == c)) for c in classes]
        return images.to_float(dataset.images[found])

    def save(what: str, columns: list[np.ndarray], captions: list[str], **texts) -> None:
        rows = images.to_uint8(np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:]))
        images.save_png(folder / f"{what}.png", images.labelled_grid(rows, captions, **texts))

    classes = np.arange(len(dataset.classes))
    x0 = pictures(classes)
    known = np.arange(x0.shape[1])[:, None, None] < x0.shape[1] // 2
    settings = {"steps": STEPS, "rng": rng}
    film = inpaint(told(*net, classes, scale=1), x0, known, schedule, **settings)
    columns = [x0, np.where(known, x0, np.float32(0)), last(film, "replacement", STEPS)]
    settings["resamplings"] = RESAMPLINGS
    repeated = np.concatenate([x0] * DRAWN)
    four = told(*net, np.tile(classes, DRAWN), scale=1)
    film = inpaint(four, repeated, known, schedule, **settings)
    columns += np.split(last(film, "RePaint", STEPS * RESAMPLINGS), DRAWN)
    captions = ["picture", "hidden", "replaced", *["RePaint"] * DRAWN]
    save("inpainting", columns, captions, rows=dataset.classes)

    before, after = zip(*PAIRS, strict=True)
    columns = [np.concatenate([blocks(pictures(BLOCKS)), pictures(before)])]
    guided = told(*net, np.array(BLOCKS + after), scale=2)
    for strength in STRENGTHS:
        film = sdedit(guided, columns[0], schedule, strength=strength, steps=STEPS, rng=rng)
        columns.append(last(film, f"SDEdit, {strength}", STEPS))
    names = [f"blocks: {dataset.classes[c]}" for c in BLOCKS]
    names += [" to ".join(dataset.classes[c] for c in pair) for pair in PAIRS]
    save("sdedit", columns, ["given", *map(str, STRENGTHS)], rows=names, corner="strength")

    columns = [x0]
    for eta in ETAS:
        film = variations(told(*net, classes, scale=1), x0, schedule, eta=eta, steps=STEPS, rng=rng)
        columns.append(last(film, f"variations, {eta}", STEPS))
    save("variations", columns, ["picture", *map(str, ETAS)], rows=dataset.classes, corner="eta")

    first, second = pictures(before), pictures(after)
    # Told no label, it may pass from one class to the other.
    way = interpolate(told_nothing(*net), first, second, schedule, weights=WEIGHTS, steps=STEPS)
    way = [to_numpy(x) for x in tqdm(way, "interpolation", len(WEIGHTS))]
    captions = ["first", *(f"{weight:g}" for weight in WEIGHTS), "second"]
    save(
        "interpolation", [first, *way, second], captions, rows=names[len(BLOCKS) :], corner="weight"
    )
    print(f"See inpainting.png, sdedit.png, variations.png and interpolation.png in {folder}.")


def last(film, what: str, steps: int) -> np.ndarray:
    """The last picture of a film, which runs under a progress bar."""
    return to_numpy(deque(tqdm(film, what, steps), maxlen=1).pop())


def blocks(x: np.ndarray) -> np.ndarray:
    """Means of SIDE × SIDE pixels, as large as the picture"""
    n, h, w, c = x.shape
    means = x.reshape(n, h // SIDE, SIDE, w // SIDE, SIDE, c).mean(axis=(2, 4))
    return means.repeat(SIDE, axis=1).repeat(SIDE, axis=2)


if __name__ == "__main__":
    run(main)
