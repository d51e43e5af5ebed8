"""How far it is from a picture to the decision boundary, where a network changes its mind.

    min ‖d‖₂   with   k(x + d) ≠ k(x),      k(x) = argmax Z(x)

Of a network nobody can compute the minimum; every picture that is taken for something else is an
upper bound.  DeepFool looks for one that is near, and stops a little beyond the boundary; where the
straight way to it crosses the boundary, bisection finds, to any tolerance.  For an affine network
that is the minimum: |f_k|/‖w_k‖, of the k for which it is least.

Source: S. Moosavi-Dezfooli et al., "DeepFool: a simple and accurate method to fool deep neural
networks", CVPR 2016, section 2 (the distance, and ρ̂, its mean as a share of ‖x‖).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from tinydiff.adversarial.ball import length
from tinydiff.adversarial.deepfool import deepfool
from tinydiff.adversarial.measure import carried_out, classes_seen
from tinydiff.adversarial.network import pictures
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.checks import positive
from tinydiff.nn import Module


def distance_to_boundary(
    model: Module, x, y: np.ndarray, *, tolerance: float = 1e-4, progress: str | None = None
) -> np.ndarray:
    """How far each picture is from being taken for something else than y, in L2: float64 (N,)

    model     a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`
    x, y      floats in [0, 1], and the class of each
    tolerance, progress  how far behind the boundary it may stop, as in `crossing`; and what to call
              it in a progress bar, None shows none

    An upper bound, along the way to what DeepFool finds; 0 where y is not seen as it is, infinite
    where DeepFool finds nothing.  Raises ValueError or TypeError for arguments that do not fit.
    """
    positive(tolerance=tolerance)
    found = carried_out(deepfool, model, x, y, progress=progress)
    seen = partial(classes_seen, model)
    return np.where(seen(x) == y, crossing(seen, x, found.pictures, tolerance=tolerance), 0.0)


def crossing(seen: Callable, x, end, *, tolerance: float = 1e-4) -> np.ndarray:
    """How far along the straight way from each x to its end another class is seen: float64 (N,)

    seen       seen(x) → the class of each picture, integers (N,) on the host
    x, end     pictures, (N, H, W, C) of floats in [0, 1]
    tolerance  how far behind the boundary it may stop, in L2; it never stops before

    If the class changes several times on the way, this is one of the places; if it is the same at
    both ends, infinite.  Raises ValueError or TypeError for arguments that do not fit.
    """
    positive(tolerance=tolerance)
    x, end = pictures(x), pictures(end)
    if x.shape != end.shape:
        raise ValueError(f"end has shape {end.shape}, expected that of x, {x.shape}")
    before, result = seen(x), np.full(len(x), np.inf)
    left = np.flatnonzero(seen(end) != before)
    if not len(left):
        return result
    x, way, before = (
        x[left].astype(np.float64),
        end[left].astype(np.float64) - x[left],
        before[left],
    )
    far = to_numpy(length(way, 2)).reshape(-1)
    low, high = np.zeros(len(left)), np.ones(len(left))  # shares of the way
    for _ in range(math.ceil(math.log2(max(1.0, far.max() / tolerance)))):
        middle = (low + high) / 2
        z = xp.clip(x + asarray(middle)[:, None, None, None] * way, 0, 1)
        changed = seen(z.astype(end.dtype)) != before
        low, high = np.where(changed, low, middle), np.where(changed, middle, high)
    result[left] = high * far
    return result
