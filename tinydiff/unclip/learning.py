"""What each of the three parts learns from: for a `Trainer`, its loss and its batches.

Each learns from pictures whose classes are captions (`Scenes.by_caption`); the prior and the
decoder learn from what a trained CLIP makes of theirs, once and for all.  Vectors are told a
network as labels are, from the host, where they are looked up by their numbers.

Source: A. Ramesh et al., "Hierarchical Text-Conditional Image Generation with CLIP Latents", 2022,
section 2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinydiff.data import Batches
from tinydiff.data.captions import canonical
from tinydiff.diffusion import Pipeline
from tinydiff.models import contrastive_loss
from tinydiff.tensor import Tensor
from tinydiff.unclip.matcher import Matcher
from tinydiff.unclip.prior import Prior

Learning = tuple[Callable[..., Tensor], object]


def clip_learning(matcher: Matcher, batches: Batches) -> Learning:
    """Contrast.  Captions of a batch that say the same, in the same words or the other way round
    ("a above b", "b below a"), are not wrong answers for each other (`contrastive_loss`)."""
    captions = batches.dataset.classes
    tokens = matcher.tokenizer.encode(captions)
    _, meanings = np.unique([canonical(caption) for caption in captions], return_inverse=True)

    def loss(x, labels):
        return contrastive_loss(matcher.model(x, tokens[labels]), meanings[labels])

    return loss, batches


def prior_learning(prior: Prior, batches: Batches, matcher: Matcher) -> Learning:
    """From the vector of a caption to that of its picture."""
    dataset = batches.dataset
    captions = matcher.of_captions(dataset.classes)[dataset.labels]
    batches = Numbered(batches, matcher.of_images(dataset.images))
    return lambda z, numbers: prior.training_loss(z, captions[numbers]), batches


def decoder_learning(decoder: Pipeline, batches: Batches, matcher: Matcher) -> Learning:
    """From the vector of a picture to the picture; its settings may have a ``weighting``, as of
    `GaussianDiffusion.training_loss`."""
    vectors = matcher.of_images(batches.dataset.images)
    weighting = decoder.settings.get("weighting", "simple")

    def loss(x, numbers):
        return decoder.training_loss(x, cond=vectors[numbers], weighting=weighting)

    return loss, Numbered(batches)


class Numbered:
    """batches[step] is (x, numbers): what `data.Batches` gives, and which entries of its data set.

    values  (N, …), an entry for each picture, that are to come in place of the pictures

    Raises ValueError for batches that are flipped or shifted, or not as many values as pictures.
    """

    def __init__(self, batches: Batches, values: np.ndarray | None = None):
        if batches.flip or batches.shift:
            raise ValueError("batches: expected no flip and no shift: numbers do not tell of them")
        if values is not None and len(values) != len(batches.dataset):
            n = len(batches.dataset)
            raise ValueError(f"values: expected {n}, one a picture, got {len(values)}")
        self.batches, self.values = batches, values

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        numbers, *_ = self.batches.picks(step)
        x = self.batches[step][0] if self.values is None else self.values[numbers]
        return x, numbers
