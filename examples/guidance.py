"""What guidance gives and takes: label agreement and recall against its weight, in four ways.

    python examples/guidance.py runs/mnist/checkpoint.npz

classifier-free   ε + w (ε_c − ε)
interval          the same, but only where the noise per signal is neither small nor large
rescaled          the same, but with the contrast of w = 1
classifier        the gradient of a classifier of noisy pictures instead, w times

The judge of agreement and recall is the classifier of runs/classify-DATA/ (examples/classify.py);
the one that guides is another, and has its own run in runs/classify-noisy-DATA/.  Both are trained
first, a minute or two each, where there are none.

Writes to runs/NAME/ (guidance-DATA by default): a picture for each way, a row a weight, and
curves.png, with standard errors.
"""

from collections import deque
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinydiff as td
from tinydiff import backend, data, images, metrics, ops, optim, plots
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.commandline import parser, run, run_folder, whole
from tinydiff.diffusion import (
    GaussianDiffusion,
    Pipeline,
    classifier_free,
    classifier_guided,
    denoiser,
    sample_ddim,
)
from tinydiff.models import NoisyClassifier
from tinydiff.training import Trainer, train

DATA = data.MNIST_LIKE
WAYS = {
    "classifier-free": {},
    "interval": {"interval": (0.3, 3.0)},
    "rescaled": {"rescale": 0.7},
    "classifier": None,
}
WEIGHTS = (1.0, 2.0, 4.0, 8.0)
STEPS, BATCH = 15, 100
EPOCHS, PEAK = 3, 4e-3  # of the noisy classifier


def main() -> None:
    args = parse_arguments()
    plots.require()
    pipeline = Pipeline.load(args.checkpoint)
    name = pipeline.learned_from(DATA)
    folder = run_folder(args, f"guidance-{name}")
    train_set, test_set = DATA[name]("train"), DATA[name]("test")
    judge = metrics.judge_of(train_set, args.out / f"classify-{name}")
    td.seed(args.seed)
    noisy = noisy_classifier(train_set, pipeline.diffusion, args.out / f"classify-noisy-{name}")
    labels = np.arange(args.count) % len(pipeline.classes)
    chosen = metrics.same_mix(test_set, labels, np.random.default_rng(args.seed), most=1)
    real = metrics.features(judge, test_set.images[chosen])
    agreement, recall = {way: [] for way in WAYS}, {way: [] for way in WAYS}
    bar = tqdm(total=len(WAYS) * len(WEIGHTS) * args.count, unit="image")
    for way in WAYS:
        rows = []
        for weight in WEIGHTS:
            rng = np.random.default_rng(args.seed)  # the same noise for all
            drawn = []
            for part in np.split(labels, range(BATCH, len(labels), BATCH)):
                noise = randn((len(part), *pipeline.image), rng=rng)
                denoise = guided(pipeline, noisy, way, weight, part)
                film = sample_ddim(denoise, noise, pipeline.diffusion.schedule, steps=STEPS)
                drawn.append(images.to_uint8(to_numpy(deque(film, maxlen=1).pop())))
                bar.update(len(part))
            drawn = np.concatenate(drawn)
            rows.append(drawn[: len(pipeline.classes)])
            agrees = metrics.label_agreement(judge, drawn, labels)
            _, covered = metrics.precision_recall(real, metrics.features(judge, drawn))
            agreement[way].append((agrees.value, agrees.error))
            recall[way].append((covered.value, covered.error))
            bar.write(f"{way}, w = {weight:g}: {agrees:.1%}, recall {covered:.1%}")
        captions = pipeline.classes, [f"w = {weight:g}" for weight in WEIGHTS]
        table = images.labelled_grid(np.concatenate(rows), *captions)
        images.save_png(folder / f"{way}.png", table)
    bar.close()
    panels = {"label agreement": agreement, "recall": recall}
    plots.save_panels(folder / "curves.png", WEIGHTS, panels, xlabel="w")
    print(f"See curves.png, {', '.join(f'{way}.png' for way in WAYS)} in {folder}.")


def guided(pipeline: Pipeline, noisy: NoisyClassifier, way: str, weight: float, labels):
    """The denoiser guided to the labels in one of the WAYS."""
    model, diffusion = pipeline.model.eval(), pipeline.diffusion
    if way != "classifier":
        return classifier_free(model, diffusion, labels, scale=weight, **WAYS[way])
    plain = denoiser(model, diffusion)
    return classifier_guided(plain, noisy, diffusion.schedule, labels, scale=weight)


def noisy_classifier(dataset, diffusion: GaussianDiffusion, folder: Path) -> NoisyClassifier:
    """The one of the run in ``folder``, trained to its end."""
    batches = data.Batches(dataset, min(128, len(dataset)), seed=0)
    steps = EPOCHS * len(batches)
    model = NoisyClassifier(dataset.images.shape[3], len(dataset.classes))
    trainer = Trainer(
        model,
        partial(noisy_loss, model, diffusion),
        batches,
        optim.AdamW(model.parameters(), lr=PEAK),
        schedule=optim.one_cycle(PEAK, steps),
    )
    deque(train(trainer, steps, folder, settings={"data": dataset.name, "steps": steps}), maxlen=0)
    return model.eval()


def noisy_loss(model: NoisyClassifier, diffusion: GaussianDiffusion, x0, labels) -> td.Tensor:
    """−log p(label | x_t), each picture at a step of its own"""
    t = backend.rng.integers(diffusion.schedule.T, size=len(x0))
    x_t = diffusion.q_sample(asarray(x0), t, randn(x0.shape))
    return ops.cross_entropy(model(x_t, t), labels)


def parse_arguments():
    options = parser(__doc__, "checkpoint", "--seed", "--name", "--out", name="guidance-DATA")
    options.add_argument("--count", type=whole(10), default=500, help="pictures for each point")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
