"""A classifier as one thing: the settings it was made from, its network, the names of its classes.

recogniser = Recogniser.load("runs/resnet-mnist/checkpoint.npz")
recogniser(images)                                        # how likely each class is
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from tinydiff import ops
from tinydiff.backend import to_numpy
from tinydiff.data import Dataset, light_on_dark, read_square
from tinydiff.metrics.features import logits
from tinydiff.models import CLASSIFIERS
from tinydiff.training import Trained, check_settings


class Recogniser(Trained):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    model    keyword settings of the network, in_channels and num_classes among them

    and, since older runs lack them,

    kind     a name in `models.CLASSIFIERS`; else "plain"
    image    [H, W, C] of the pictures it learned from; else of MNIST's size
    classes  names of the classes; else their numbers

    Called as recogniser(images): uint8 (N, H, W, C) → probabilities, float (N, classes).
    Raises ValueError or TypeError for settings that lack something or have what there is not.
    """

    called, trained_by = "a classifier", "examples/classify.py"

    def __init__(self, settings: Mapping):
        check_settings(settings, "model")
        kind = settings.get("kind", "plain")
        if kind not in CLASSIFIERS:
            raise ValueError(f"kind: expected one of {', '.join(CLASSIFIERS)}, got {kind!r}")
        self.settings = settings
        self.model = CLASSIFIERS[kind](**settings["model"])
        self.image = tuple(settings.get("image", (28, 28, self.model.in_channels)))
        numbers = map(str, range(self.model.num_classes))
        self.classes = tuple(settings.get("classes", numbers))

    def read(self, path: str | os.PathLike, side: int | None = None) -> np.ndarray:
        """A picture in a file as it knows them: its centre, uint8 ``image``, or of another side.

        What is grey becomes `light_on_dark`.  Raises as `data.read_square` does.
        """
        grey = self.image[2] == 1
        picture = read_square(path, side or self.image[0], grey=grey)
        return light_on_dark(picture) if grey else picture

    def take_names(self, dataset: Dataset) -> None:
        """Call the classes as the data set does: older runs know only their numbers.

        Raises ValueError if that has pictures of another shape, or another number of classes.
        """
        image, classes = dataset.images.shape[1:], len(dataset.classes)
        if (self.image, len(self.classes)) != (image, classes):
            raise ValueError(
                f"a network of pictures {self.image} of {len(self.classes)} classes, expected "
                f"those of {dataset.name}: {image} of {classes} classes"
            )
        self.classes = dataset.classes

    def verdicts(self, *images: np.ndarray) -> list[str]:
        """The most likely class of each picture, uint8 (N, H, W, C), and how likely: "7, 98.3%".

        Of several such arrays what is seen in the same place of each: "7, 98.3%; then 1, 99.9%".
        """
        seen = [[f"{self.classes[p.argmax()]}, {p.max():.1%}" for p in self(x)] for x in images]
        return ["; then ".join(each) for each in zip(*seen, strict=True)]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return to_numpy(ops.softmax(logits(self.model, images)).data)
