"""Do drawn pictures show what was asked for?  A classifier tells, in either direction.

label agreement            train on real pictures, test on drawn ones: are they what they should
                           be?  Falls with wrong and with unreadable pictures
classifier accuracy score  train on drawn pictures, test on real ones: falls also where kinds of
                           pictures are missing, which the classifier then has never seen

Sources: K. Shmelkov et al., "How good is my GAN?", 2018, section 3 (as GAN-test and GAN-train);
S. Ravuri and O. Vinyals, "Classification Accuracy Score for Conditional Generative Models", 2019.
"""

from __future__ import annotations

import numpy as np

from tinydiff.data import Dataset
from tinydiff.metrics.classifying import classifier_trainer
from tinydiff.metrics.estimate import Estimate, share
from tinydiff.metrics.features import predict
from tinydiff.metrics.judge import judge_recipe
from tinydiff.nn import Module


def label_agreement(judge: Module, images: np.ndarray, labels: np.ndarray) -> Estimate:
    """The share of pictures (N, H, W, C) that the judge takes for their labels (N,).

    Raises ValueError unless there is one label, from 0 on, for each picture.
    """
    labels = np.asarray(labels)
    if labels.shape != np.shape(images)[:1] or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            f"labels: expected {len(images)} classes ≥ 0, one for each picture, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    return share(predict(judge, images) == labels)


def classifier_accuracy_score(
    drawn: Dataset,
    test: Dataset,
    *,
    steps: int = 1400,
    seed: int = 0,
    progress: bool = False,
    **changes,
) -> Estimate:
    """The accuracy on real pictures, ``test``, of a classifier that has seen drawn ones only.

    It is trained as the judge is (`judge_recipe`, with ``changes``), for as many steps however many
    pictures there are; give as many of each class.  The error is that of the test pictures:
    training anew, on other pictures, changes the score too.
    Raises ValueError if the two data sets have other classes, or pictures of another shape.
    """
    for what, a, b in (
        ("classes", drawn.classes, test.classes),
        ("pictures of shape", drawn.images.shape[1:], test.images.shape[1:]),
    ):
        if a != b:
            raise ValueError(f"drawn: expected {what} {b} as in {test.name}, got {a}")
    from tqdm import tqdm  # see tinydiff/training/progress.py

    recipe = judge_recipe(drawn.images.shape[3]) | changes
    recipe = {k: v for k, v in recipe.items() if k not in ("epochs", "least_steps")}
    trainer = classifier_trainer(drawn, steps, seed=seed, **recipe)
    for _ in tqdm(trainer.run(until=steps), total=steps, unit="step", disable=not progress):
        pass
    with trainer.ema.swapped():
        return label_agreement(trainer.model, test.images, test.labels)
