"""A universal perturbation: one change that fools a network on most pictures at once.

    for each picture x_i with k(x_i + v) = y_i:   v ← Π(v + DeepFool(x_i + v) − (x_i + v))

until the share of those fooled is 1 − δ.  Π brings v into the ball of radius ε; the pictures are
clipped to [0, 1] where they meet v.  What fools a network so is not in one picture but in the
network: such a v works on pictures it was not made from.

Source: S. Moosavi-Dezfooli et al., "Universal adversarial perturbations", CVPR 2017, algorithm 1.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import backend
from tinydiff.adversarial.ball import moved, rounded, shrink
from tinydiff.adversarial.deepfool import deepfool
from tinydiff.adversarial.network import attacking, checked, is_fooled, logits_of
from tinydiff.backend import xp
from tinydiff.checks import at_least_one, positive
from tinydiff.nn import Module


def universal_perturbation(
    model: Module,
    x,
    y,
    *,
    eps: float,
    norm: float = math.inf,
    delta: float = 0.2,
    rounds: int = 10,
    rng: np.random.Generator | None = None,
    progress: str | None = None,
):
    """v, (1, H, W, C), in the dtype of x; `moved`(x, v) are the pictures with v on each.

    model     a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`
    x, y      floats in [0, 1] to make it from, some hundreds, and the class of each
    eps       how large it may be in the ``norm``, math.inf or 2
    delta     the share of pictures that need not be fooled
    rounds    through all pictures, at most, each in another order, drawn by ``rng``
    progress  what to call it in a progress bar, one for each round; None shows none

    Raises ValueError or TypeError for arguments that do not fit.
    """
    from tqdm import tqdm  # see tinydiff/training/progress.py

    x, y = checked(model, x, y, eps, norm)
    at_least_one(rounds=rounds)
    positive(eps=eps)
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}, expected 0 ≤ delta < 1")
    rng = backend.rng if rng is None else rng
    nothing = xp.zeros_like(x[:1])
    v = nothing
    with attacking(model, x):
        for _ in range(rounds):
            order = rng.permutation(len(x))
            standing = ~is_fooled(logits_of(model, moved(x, v)), y)
            if standing.mean() <= delta:
                break
            shown = {"desc": progress, "leave": False, "disable": progress is None}
            for i in tqdm(order[standing[order]], **shown):
                one = moved(x[i : i + 1], v)
                step = deepfool(model, one, y[i : i + 1]) - one
                v = rounded(shrink((v + step).astype(np.float64), eps, norm), nothing)
    return v
