"""Fooling a network: pictures changed so little that nobody sees it, and taken for something else.

An attack is a function attack(model, x, y, *, eps, …) -> x': pictures x in [0, 1] and their classes
y, or, ``targeted``, the classes they are to be taken for.  The model is a Module of such pictures:
`on_pictures` makes one of a network that takes [−1, 1].  No attack leaves the ε-ball or [0, 1], or
changes anything about the model.

    gradient_ascent, fgsm, pgd     follow the gradient
    deepfool, carlini_wagner       look for the smallest change
    universal_perturbation         one change for all pictures
    nes, square                    see nothing but the network's answers

`carried_out` does any of them a batch at a time, and measures; `distance_to_boundary` is how far it
is to where the network changes its mind, and `map_of` a `Plane` shows that.

Defences that go around a network:

    Smoothed               tells up to which distance no attack changes its answer
    Purified               looks at what a generative model makes of a picture

Others are losses to train with, loss(network, x, labels, done, …), where the network takes [−1, 1]
and x are pictures in [0, 1]: what `metrics.train_classifier` wants.

    adversarial_loss       learns from what attacks make of the pictures
    gradient_penalty_loss  keeps the slope small
    squeezing_loss         keeps the logits small

`robustness` measures what any of them is worth.
"""

from tinydiff.adversarial.ascent import gradient_ascent
from tinydiff.adversarial.ball import moved
from tinydiff.adversarial.black_box import nes, square
from tinydiff.adversarial.boundary import crossing, distance_to_boundary
from tinydiff.adversarial.carlini_wagner import carlini_wagner
from tinydiff.adversarial.deepfool import deepfool
from tinydiff.adversarial.gradient import fgsm, pgd
from tinydiff.adversarial.gradient_penalty import gradient_penalty_loss
from tinydiff.adversarial.measure import Outcome, carried_out, classes_seen, probabilities, transfer
from tinydiff.adversarial.pictures import OnPictures, first_pictures, on_pictures
from tinydiff.adversarial.plane import Map, Plane, map_of
from tinydiff.adversarial.purification import Purified
from tinydiff.adversarial.robustness import (
    Robustness,
    robustness,
    robustness_table,
    under_pgd,
    usual_eps,
)
from tinydiff.adversarial.sheet import before_and_after, noisy_copies
from tinydiff.adversarial.smoothing import ABSTAIN, Certificates, Smoothed
from tinydiff.adversarial.squeezing import squeezing_loss
from tinydiff.adversarial.training import adversarial_loss
from tinydiff.adversarial.universal import universal_perturbation

__all__ = [
    "ABSTAIN",
    "Certificates",
    "Map",
    "OnPictures",
    "Outcome",
    "Plane",
    "Purified",
    "Robustness",
    "Smoothed",
    "adversarial_loss",
    "before_and_after",
    "carlini_wagner",
    "carried_out",
    "classes_seen",
    "crossing",
    "deepfool",
    "distance_to_boundary",
    "fgsm",
    "first_pictures",
    "gradient_ascent",
    "gradient_penalty_loss",
    "map_of",
    "moved",
    "nes",
    "noisy_copies",
    "on_pictures",
    "pgd",
    "probabilities",
    "robustness",
    "robustness_table",
    "square",
    "squeezing_loss",
    "transfer",
    "under_pgd",
    "universal_perturbation",
    "usual_eps",
]
