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
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path

from tinydiff import data, ops, optim
from tinydiff.backend import randn
from tinydiff.checks import at_least_one
from tinydiff.metrics.recogniser import Recogniser
from tinydiff.models import CLASSIFIERS, ImageClassifier
from tinydiff.training import Trainer, train
from tinydiff.training.run import CHECKPOINT

BATCH, PEAK = 128, 4e-3  # images a step, and the highest learning rate
SMOOTHING = 0.05


@dataclass(frozen=True)
class Recipe:
    """How a classifier learns, and what a run says of that in its settings.

    kind         a name in `models.CLASSIFIERS`; ``network`` are its settings
    batch_size   images a step: the whole data set, if it has fewer
    lr           the highest learning rate
    flip, shift  as of `data.Batches`
    noise        σ of the Gaussian noise that is added to each picture at each step, where black is
                 0 and white 1; what leaves that range is not clipped
    loss         in place of all this: loss(model, x, labels, done, **loss_settings), a scalar
                 Tensor, where x are pictures in [0, 1], and done is how far the run will be then,
                 from above 0 to 1 (`adversarial.adversarial_loss`, for instance)

    Raises ValueError for another ``kind``, batch_size < 1, noise < 0, both noise and a loss, or
    settings of none; TypeError for a batch_size that is no int.
    """

    kind: str = "plain"
    batch_size: int = BATCH
    lr: float = PEAK
    flip: bool = False
    shift: int = 0
    noise: float = 0.0
    loss: Callable | None = None
    loss_settings: Mapping = field(default_factory=dict)
    network: Mapping = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in CLASSIFIERS:
            raise ValueError(f"kind is {self.kind!r}, expected one of {', '.join(CLASSIFIERS)}")
        at_least_one(batch_size=self.batch_size)
        if not self.noise >= 0:
            raise ValueError(f"noise is {self.noise}, expected ≥ 0")
        if self.noise and self.loss:
            raise ValueError(f"noise is {self.noise}, expected 0 where there is another loss")
        if self.loss_settings and not self.loss:
            raise ValueError(f"loss_settings are {dict(self.loss_settings)}, and there is no loss")

    @classmethod
    def of(cls, dataset: data.Dataset, **settings) -> Recipe:
        """For a data set; settings that are none of those above are the network's."""
        if dataset.labels is None:
            raise ValueError(f"{dataset.name} has no labels: a classifier cannot learn from it")
        known = {each.name for each in fields(cls)}
        network = {name: value for name, value in settings.items() if name not in known}
        made = cls(**{name: settings[name] for name in settings if name in known}, network=network)
        return replace(made, batch_size=min(made.batch_size, len(dataset)))

    def told(self) -> dict:
        """What the settings of a run say of how it learns."""
        told = {name: getattr(self, name) for name in ("batch_size", "lr", "flip", "shift")}
        if self.noise:  # which runs of older times do not name
            told["noise"] = self.noise
        if self.loss:
            told["loss"] = {"name": self.loss.__name__, **self.loss_settings}
        return told

    def trainer(self, dataset: data.Dataset, steps: int, seed: int) -> Trainer:
        """See `classifier_trainer`."""
        channels, classes = dataset.images.shape[3], len(dataset.classes)
        model = CLASSIFIERS[self.kind](channels, classes, **self.network)
        turned = {"seed": seed, "flip": self.flip, "shift": self.shift}
        batches = partial(data.Batches, dataset, self.batch_size, **turned)
        if self.loss:
            loss = partial(self.loss, model, **self.loss_settings)
            batches = _Underway(batches(value_range=(0, 1)), steps)
        else:
            loss, batches = partial(_loss, model, self.noise), batches()
        return Trainer(
            model,
            loss,
            batches,
            optim.AdamW(model.parameters(), lr=self.lr),
            schedule=optim.one_cycle(self.lr, steps),
            ema=optim.EMA(model, decay=0.998),
        )


def classifier_trainer(dataset: data.Dataset, steps: int, *, seed: int = 0, **recipe) -> Trainer:
    """A `Trainer` that makes a classifier of the data set in ``steps``, by a `Recipe`.

    ``trainer.ema`` has the averaged weights, the better ones.  ``seed`` orders the batches; the
    weights begin with what the process's generator gives, so that `tinydiff.seed` fixes them.
    Raises ValueError for a data set without labels, and what `Recipe` does.
    """
    return Recipe.of(dataset, **recipe).trainer(dataset, steps, seed)


def train_classifier(
    dataset: data.Dataset,
    folder: str | os.PathLike,
    *,
    epochs: float = 3.0,
    least_steps: int = 1,
    seed: int = 0,
    **recipe,
) -> Recogniser:
    """A `classifier_trainer`'s classifier, trained by a run in ``folder``.

    It takes ``epochs`` passes over the data, or ``least_steps`` steps where those would be more.
    The run shows a progress bar, goes on where it stopped, and refuses what `train` refuses.
    """
    recipe = Recipe.of(dataset, **recipe)
    steps = max(least_steps, round(epochs * (len(dataset) // recipe.batch_size)))
    trainer = recipe.trainer(dataset, steps, seed)
    sizes = {name: getattr(trainer.model, name) for name in ("in_channels", "num_classes")}
    settings = {
        "data": dataset.name,
        "image": dataset.images.shape[1:],
        "classes": dataset.classes,
        "kind": recipe.kind,
        "model": {**sizes, **recipe.network},
        "recipe": recipe.told(),
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
