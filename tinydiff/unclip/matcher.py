"""A CLIP as one thing: the settings it was made from, its network, the words it knows.

matcher = Matcher.load("runs/unclip/clip/checkpoint.npz")
matcher.of_images(images) @ matcher.of_captions(captions).T    # how well they go together
matcher.classify(images, [["a red circle"], ["a red cross"]])  # without ever having learned to

Vectors have the length √d, d being how many numbers they are: each of these is about as large as 1,
as what diffusion is used to.

Source: A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
2021, sections 3.1.2 (classification by captions) and 3.1.4 (several captions of a class).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinydiff.backend import asarray, to_numpy
from tinydiff.data import Tokenizer
from tinydiff.images import to_input
from tinydiff.models import CLIP
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.tensor import Tensor
from tinydiff.training import check_settings
from tinydiff.unclip.part import Part

BATCH = 250


class Matcher(Part):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    image   [side, side, C] of the pictures
    words   the vocabulary of captions
    clip    keyword settings of `models.CLIP`, but for what follows from these

    Raises ValueError or TypeError for settings that lack something or have what there is not.
    """

    called = "a CLIP"

    def __init__(self, settings: Mapping):
        check_settings(settings, "image", "words", "clip")
        clip, (side, _, channels) = settings["clip"], settings["image"]
        self.settings, self.image = settings, tuple(settings["image"])
        self.tokenizer = Tokenizer(settings["words"], clip["text"]["length"])
        image = {"side": side, **clip["image"]}
        text = {"vocabulary": self.tokenizer.size, **clip["text"]}
        self.model = CLIP(channels, clip["embedding"], image=image, text=text)

    @property
    def embedding(self) -> int:
        """d: how many numbers a vector is"""
        return self.model.embedding

    def of_images(self, images: np.ndarray) -> np.ndarray:
        """The vectors of pictures (N, side, side, C), uint8 or floats in [−1, 1]: float32 (N, d)"""
        return self._through(self.model.image, to_input(images))

    def of_captions(self, captions: Sequence[str]) -> np.ndarray:
        """The vectors of captions: float32 (N, d).  ValueError for words it does not know."""
        return self._through(self.model.text, self.tokenizer.encode(captions))

    def classify(self, images: np.ndarray, classes: Sequence[Sequence[str]]) -> np.ndarray:
        """How likely each class is, (N, classes), of each of which there are captions.

        A class is where the mean of its captions points to.
        """
        means = np.stack([on_sphere(self.of_captions(c).mean(axis=0)) for c in classes])
        scale = self.model.scale.item() / self.embedding
        logits = scale * self.of_images(images) @ means.T
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        return logits / logits.sum(axis=1, keepdims=True)

    def _through(self, tower, x: np.ndarray) -> np.ndarray:
        """tower(x), a batch at a time, in as many processes as there are cores, times √d."""
        self.model.eval()
        parts = []
        with no_grad(), team_of(self.model):
            for start in range(0, len(x), BATCH):
                part = x[start : start + BATCH]
                part = part if part.dtype.kind in "iu" else Tensor(asarray(part))
                parts.append(to_numpy(tower(part).data))
        return np.concatenate(parts) * np.float32(math.sqrt(self.embedding))


def on_sphere(z: np.ndarray) -> np.ndarray:
    """z (…, d), as long as vectors are here: √d"""
    return z / np.sqrt((z**2).mean(axis=-1, keepdims=True))
