"""Training a classifier on the pictures of a data set, in a run of its own.

The loss is the cross-entropy with targets that are a little unsure of themselves, (1 − s) for the
label and s/C for every class; the learning rate goes up and down in one cycle; the weights are
averaged.  Pictures are shifted and mirrored on the way, where their class survives it, or noise is
laid over them.

Sources of the recipe: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2019
(AdamW); L. Smith and N. Topin, "Super-Convergence", 2018 (one cycle); C. Szegedy et al.,
"Rethinking the Inception Architecture for Computer Vision", 2016, section 7 (label smoothing);
J. Cohen et al., "Certified adversarial robustness via randomized smoothing", 2019, section 3.3
(noise).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from tinydiff import data, ops, optim
from tinydiff.backend import randn
from tinydiff.metrics.recogniser import Recogniser
from tinydiff.models import CLASSIFIERS, ImageClassifier
from tinydiff.training import Trainer, train
from tinydiff.training.run import CHECKPOINT

BATCH, PEAK = 128, 4e-3  # images a step, and the highest learning rate
SMOOTHING = 0.05


def classifier_trainer(
    dataset: data.Dataset,
    steps: int,
    *,
    kind: str = "plain",
    seed: int = 0,
    batch_size: int = BATCH,
    lr: float = PEAK,
    flip: bool = False,
    shift: int = 0,
    noise: float = 0.0,
    loss: Callable | None = None,
    loss_settings: Mapping = MappingProxyType({}),
    **network,
) -> Trainer:
    """A `Trainer` that makes a classifier of the data set in ``steps``.

    kind         a name in `models.CLASSIFIERS`; ``network`` are its settings
    flip, shift  as of `data.Batches`
    noise        σ of the Gaussian noise that is added to each picture at each step, where black is
                 0 and white 1; what leaves that range is not clipped
    loss         in place of all this: loss(model, x, labels, done, **loss_settings), a scalar
                 Tensor, where x are pictures in [0, 1], and done is how far the run will be then,
                 from above 0 to 1 (`adversarial.adversarial_loss`, for instance)

    ``trainer.ema`` has the averaged weights, the better ones.  ``seed`` orders the batches; the
    weights begin with what the process's generator gives, so that `tinydiff.seed` fixes them.
    Raises ValueError for a data set without labels, another ``kind``, noise < 0, or both noise and
    a loss.
    """
    if dataset.labels is None:
        raise ValueError(f"{dataset.name} has no labels: a classifier cannot learn from it")
    if kind not in CLASSIFIERS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(CLASSIFIERS)}")
    if not noise >= 0:
        raise ValueError(f"noise is {noise}, expected ≥ 0")
    if noise and loss:
        raise ValueError(f"noise is {noise}, expected 0 where there is another loss")
    model = CLASSIFIERS[kind](dataset.images.shape[3], len(dataset.classes), **network)
    batch_size = min(batch_size, len(dataset))
    batches = partial(data.Batches, dataset, batch_size, seed=seed, flip=flip, shift=shift)
    return Trainer(
        model,
        partial(loss, model, **loss_settings) if loss else partial(_loss, model, noise),
        _Underway(batches(value_range=(0, 1)), steps) if loss else batches(),
        optim.AdamW(model.parameters(), lr=lr),
        schedule=optim.one_cycle(lr, steps),
        ema=optim.EMA(model, decay=0.998),
    )


def train_classifier(
    dataset: data.Dataset,
    folder: str | os.PathLike,
    *,
    epochs: float = 3.0,
    least_steps: int = 1,
    kind: str = "plain",
    seed: int = 0,
    batch_size: int = BATCH,
    lr: float = PEAK,
    flip: bool = False,
    shift: int = 0,
    noise: float = 0.0,
    loss: Callable | None = None,
    loss_settings: Mapping = MappingProxyType({}),
    **network,
) -> Recogniser:
    """A `classifier_trainer`'s classifier, trained by a run in ``folder``.

    It takes ``epochs`` passes over the data, or ``least_steps`` steps where those would be more.
    The run shows a progress bar, goes on where it stopped, and refuses what `train` refuses.
    """
    batch_size = min(batch_size, len(dataset))
    steps = max(least_steps, round(epochs * (len(dataset) // batch_size)))
    recipe = {"batch_size": batch_size, "lr": lr, "flip": flip, "shift": shift}
    if noise:  # which runs of older times do not name
        recipe["noise"] = noise
    trainer = classifier_trainer(
        dataset,
        steps,
        kind=kind,
        seed=seed,
        loss=loss,
        loss_settings=loss_settings,
        **recipe,
        **network,
    )
    if loss:
        recipe["loss"] = {"name": loss.__name__, **loss_settings}
    model = trainer.model
    settings = {
        "data": dataset.name,
        "image": dataset.images.shape[1:],
        "classes": dataset.classes,
        "kind": kind,
        "model": {"in_channels": model.in_channels, "num_classes": model.num_classes, **network},
        "recipe": recipe,
        "steps": steps,
        "seed": seed,
    }
    for _ in train(trainer, steps, folder, settings=settings):
        pass
    return Recogniser.load(Path(folder) / CHECKPOINT)


class _Underway:
    """Batches (x, labels, done) of a run: how far it is when each has been learned from, up to 1"""

    def __init__(self, batches: data.Batches, steps: int):
        self.batches, self.steps = batches, steps

    def __getitem__(self, step: int) -> tuple:
        return *self.batches[step], (step + 1) / self.steps


def _loss(model: ImageClassifier, noise: float, x, labels):
    if noise:
        x = x + 2 * noise * randn(x.shape, dtype=x.dtype)  # from black to white is 2 here
    return ops.cross_entropy(model(x), labels, label_smoothing=SMOOTHING)
