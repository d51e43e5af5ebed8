"""The judge: a classifier trained on real pictures, whose features and opinions metrics use.

There are no weights to download, so the judge of a data set is trained here, on its training set;
a minute for MNIST, and 99.4 % of the test set right.  Numbers of one judge compare with each
other only.

Sources of the recipe: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2019
(AdamW); L. Smith and N. Topin, "Super-Convergence", 2018 (one cycle); C. Szegedy et al.,
"Rethinking the Inception Architecture for Computer Vision", 2016, section 7 (label smoothing).
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from tinydiff import backend, data, ops, optim
from tinydiff.models import Classifier
from tinydiff.training import Trainer, load, train, trained_weights
from tinydiff.training.run import CHECKPOINT

BATCH, PEAK = 128, 4e-3  # images a step, and the highest learning rate


class HalfTrained(ValueError):
    """The run of a judge that has not come to its end."""


def classifier_trainer(
    dataset: data.Dataset,
    steps: int,
    *,
    seed: int = 0,
    batch_size: int = BATCH,
    lr: float = PEAK,
    **network,
) -> Trainer:
    """A `Trainer` that makes a `Classifier` (settings ``network``) of the data set in ``steps``.

    ``trainer.ema`` has the averaged weights, the better ones.  ``seed`` orders the batches; the
    weights begin with what the process's generator gives, so that `tinydiff.seed` fixes them.
    Raises ValueError for a data set without labels.
    """
    if dataset.labels is None:
        raise ValueError(f"{dataset.name} has no labels: a classifier cannot learn from it")
    model = Classifier(dataset.images.shape[3], len(dataset.classes), **network)
    return Trainer(
        model,
        partial(_loss, model),
        data.Batches(dataset, min(batch_size, len(dataset)), seed=seed),
        optim.AdamW(model.parameters(), lr=lr),
        schedule=optim.one_cycle(lr, steps),
        ema=optim.EMA(model, decay=0.998),
    )


def train_judge(
    dataset: data.Dataset,
    folder: str | os.PathLike,
    *,
    epochs: float = 3.0,
    seed: int = 0,
    batch_size: int = BATCH,
    lr: float = PEAK,
    **network,
) -> Classifier:
    """A `classifier_trainer`'s classifier, trained for ``epochs`` by a run in ``folder``.

    The run shows a progress bar, goes on where it stopped, and refuses what `train` refuses.
    """
    steps = max(1, round(epochs * (len(dataset) // min(batch_size, len(dataset)))))
    trainer = classifier_trainer(dataset, steps, seed=seed, batch_size=batch_size, lr=lr, **network)
    model = trainer.model
    shape = {"in_channels": model.in_channels, "num_classes": model.num_classes, **network}
    settings = {"data": dataset.name, "model": shape, "steps": steps, "seed": seed}
    for _ in train(trainer, steps, folder, settings=settings):
        pass
    return load_judge(Path(folder) / CHECKPOINT)


def judge_of(dataset: data.Dataset, folder: str | os.PathLike, **recipe) -> Classifier:
    """The judge of the run in ``folder``; what it lacks is trained now, and a line says so.

    It is trained, from the beginning or from where its run stopped, as `train_judge` does
    (``recipe``) after ``seed(0)``, and the process's random numbers go on afterwards as if there
    had been nothing to do.  Raises what `train_judge` and `load_judge` do.
    """
    path, before = Path(folder) / CHECKPOINT, backend.rng.bit_generator.state
    try:
        try:
            return load_judge(path)
        except FileNotFoundError:
            print(f"There is no judge in {path.parent} yet: it is trained now, in a minute or two.")
        except HalfTrained:
            print(f"The judge in {path.parent} is half trained: it is trained on now.")
        backend.seed(0)
        return train_judge(dataset, folder, **recipe)
    finally:
        backend.rng.bit_generator.state = before


def load_judge(path: str | os.PathLike) -> Classifier:
    """The classifier of a run's checkpoint, with its averaged weights.

    Raises FileNotFoundError, CheckpointError if the file is damaged, ValueError if it is another
    network's, and that of `HalfTrained` if the run has not come to its end.
    """
    state = load(path)
    try:
        model = Classifier(**state["settings"]["model"])
        model.load_state_dict(trained_weights(state))
        step, steps = state["step"], state["settings"]["steps"]
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"{os.fspath(path)} is not a classifier's: give another name") from None
    if step < steps:
        raise HalfTrained(
            f"{os.fspath(path)} is half trained, {step} of {steps} steps: "
            "the command that trains it goes on with it"
        )
    return model


def _loss(model: Classifier, x, labels):
    return ops.cross_entropy(model(x), labels, label_smoothing=0.05)
