"""Where pictures in [0, 1] meet a network that takes [−1, 1].

An attack speaks of pictures: its ε is a brightness, and black and white are where it must stop.
The networks here learned from [−1, 1].  This is the only place where one becomes the other.
"""

import numpy as np

from tinydiff.data import Dataset, first_of
from tinydiff.images import to_float
from tinydiff.nn import Module
from tinydiff.nn.checks import is_module
from tinydiff.tensor import Tensor


class OnPictures(Module):
    """model(2x − 1): pictures x in [0, 1], (N, H, W, C) → logits (N, K)"""

    def __init__(self, model: Module):
        self.model = model

    def forward(self, x) -> Tensor:
        x = x if isinstance(x, Tensor) else Tensor(x)
        return self.model(2 * x - 1)


def on_pictures(model: Module) -> OnPictures:
    """The network, which takes [−1, 1], as a function of pictures in [0, 1]: see `OnPictures`.

    Raises TypeError unless it is a Module.
    """
    is_module(model)
    return OnPictures(model)


def first_pictures(dataset: Dataset, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first ``count`` pictures of a data set as floats in [0, 1], and the class of each.

    Or all, if there are fewer; of all classes: see `first_of`.
    """
    some = first_of(dataset, count)
    return to_float(some.images, (0, 1)), some.labels
