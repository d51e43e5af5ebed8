"""DeepFool: step by step to the nearest boundary, each step as if the network were affine.

Against class 0, the one that is seen, each class k has a boundary, f_k = Z_k − Z_0 = 0.  Of an
affine network it is a plane with the normal w_k = ∇f_k at the distance |f_k|/‖w_k‖₂, so that

    k = argmin |f_k|/‖w_k‖,   r += (|f_k|/‖w_k‖ + 10⁻⁴)·w_k/‖w_k‖,   x ← x₀ + (1 + overshoot) r

ends in one step; of another it takes some more.

Source: S. Moosavi-Dezfooli et al., "DeepFool: a simple and accurate method to fool deep neural
networks", CVPR 2016, algorithm 2; the 10⁻⁴, against steps of nothing, are of their code.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff.adversarial.ball import length, project
from tinydiff.adversarial.network import attacking, checked, is_fooled, logits_of
from tinydiff.backend import to_numpy, xp
from tinydiff.checks import at_least_one
from tinydiff.nn import Module
from tinydiff.tensor import Tensor, grad

NUDGE, FLOOR = 1e-4, 1e-8  # added to distances, and to norms that divide


def deepfool(
    model: Module,
    x,
    y,
    *,
    eps: float = math.inf,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 10,
):
    """The pictures changed as little as it finds, in L2, to be taken for another class than y.

    model       a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`
    x, y        floats in [0, 1], and the class of each; what is taken for another stays as it is
    eps         how far from x they may go, in L2; by default as far as it takes
    steps       at most
    overshoot   to be beyond the boundary, and not on it
    candidates  only the boundaries of so many classes, those with the largest logits, are looked at

    Each step takes a gradient for each candidate, of the pictures that are not fooled yet.
    Raises ValueError or TypeError for arguments that do not fit.
    """
    x, y = checked(model, x, y, eps)
    at_least_one(steps=steps, candidates=candidates)
    if candidates < 2:
        raise ValueError(f"candidates is {candidates}, expected ≥ 2: what is seen, and another")
    if not 0 <= overshoot < math.inf:
        raise ValueError(f"overshoot is {overshoot}, expected ≥ 0")
    result, moved, left = xp.array(x), xp.zeros_like(x), np.arange(len(x))
    with attacking(model, x):
        for taken in range(steps + 1):
            logits = to_numpy(logits_of(model, result[left]))
            if not taken:  # the classes compared stay the same ones
                classes = np.argsort(-logits, axis=1, kind="stable")[:, :candidates]
            left = left[~is_fooled(logits, y[left])]
            if not len(left) or taken == steps:
                break
            moved[left] += _step(model, result[left], classes[left])
            beyond = x[left] + (1 + overshoot) * moved[left]
            result[left] = project(beyond, x[left], math.inf, 2)
    return project(result, x, eps, 2)


def _step(model: Module, x, classes: np.ndarray):
    """To the nearest of the planes between each picture's first class and its others."""
    x = Tensor(x, requires_grad=True)
    logits = model(x)
    rows, first, others = np.arange(len(x)), classes[:, 0], classes[:, 1:].T
    nearest, step = xp.inf, xp.zeros_like(x.data)
    for k, other in enumerate(others, 1):
        ahead = logits[rows, other] - logits[rows, first]
        w = grad(ahead.sum(), x, retain_graph=k < len(others))
        size = length(w, 2) + FLOOR
        distance = xp.abs(ahead.data).reshape(size.shape) / size
        step = xp.where(distance < nearest, (distance + NUDGE) / size * w, step)
        nearest = xp.minimum(distance, nearest)
    return step
