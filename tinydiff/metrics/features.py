"""What a trained classifier makes of pictures: their features, and the class it sees.

Features are what its last layer reads the class from (`Classifier.features`): pictures that look
alike to it lie close together there, which pixels do not.  Distances between sets of pictures are
measured in that space.
"""

from __future__ import annotations

import numpy as np

from tinydiff.backend import asarray, to_numpy
from tinydiff.images import check_pictures, to_input
from tinydiff.nn import Module
from tinydiff.recording import no_grad
from tinydiff.team import team_of

BATCH = 250


def features(model: Module, images: np.ndarray, *, progress: bool = False) -> np.ndarray:
    """The features (N, d) of pictures (N, H, W, C), uint8 or floats in [−1, 1].

    model     a classifier with a method ``features(x)``, trained on [−1, 1] as
              `classifier_trainer` does; it is put into evaluation mode
    progress  show a progress bar
    """
    if not callable(getattr(model, "features", None)):
        raise TypeError(
            f"model: expected a classifier with a method features(x), got {type(model).__name__}"
        )
    return _outputs(_Features(model), images, progress)


def logits(model: Module, images: np.ndarray) -> np.ndarray:
    """What the model says of each picture, (N, classes); arguments as in `features`."""
    return _outputs(model, images)


def predict(model: Module, images: np.ndarray) -> np.ndarray:
    """The most likely class, int64 (N,), of each picture; arguments as in `features`."""
    return logits(model, images).argmax(axis=1)


class _Features(Module):
    """A classifier without its last layer: a Team shares out what is called as a model."""

    independent_images = True

    def __init__(self, classifier: Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, x):
        return self.classifier.features(x)


def _outputs(model: Module, images: np.ndarray, progress: bool = False) -> np.ndarray:
    """model(x) for all pictures, a batch at a time, in as many processes as there are cores."""
    from tqdm import tqdm  # see tinydiff/training/progress.py

    images = check_pictures(images)
    model.eval()
    parts = []
    bar = tqdm(total=len(images), desc="features", unit="image", disable=not progress)
    with bar, no_grad(), team_of(model):
        for start in range(0, len(images), BATCH):
            x = to_input(images[start : start + BATCH])
            parts.append(to_numpy(model(asarray(x)).data))
            bar.update(len(x))
    return np.concatenate(parts)
