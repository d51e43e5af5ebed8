"""Targeted gradient ascent: a real picture, changed until the network sees the class we choose.

    x ← x + η·g/‖g‖₂,   g = ∇_x Z_target(x),   until Z_target is the largest

Z are the logits, and the weights are not touched.  It is the simplest way to fool a network, and
the change is hard to see: the network is nearly linear, and many small changes add up.

Source: C. Szegedy et al., "Intriguing properties of neural networks", ICLR 2014, for what it shows;
the steps of length η are Stanford's CS231n's ("fooling images").
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import ops
from tinydiff.adversarial.ball import project, steepest
from tinydiff.adversarial.network import attacking, checked, is_fooled, one_hot
from tinydiff.backend import xp
from tinydiff.checks import at_least_one, positive
from tinydiff.nn import Module
from tinydiff.tensor import Tensor, grad


def gradient_ascent(
    model: Module,
    x,
    y,
    *,
    eps: float = math.inf,
    steps: int = 100,
    step: float = 0.1,
):
    """The pictures changed until each is taken for its class in y, or ``steps`` are over.

    model  a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`
    x, y   floats in [0, 1], and the class that each is to be taken for
    eps    how far from x they may go, in L2; by default as far as it takes
    step   η, of the brightness of pixels, as Euclidean distance

    Raises ValueError or TypeError for arguments that do not fit.
    """
    x, y = checked(model, x, y, eps)
    at_least_one(steps=steps)
    positive(step=step)
    result, left = xp.array(x), np.arange(len(x))
    with attacking(model, x):
        for taken in range(steps + 1):
            z = Tensor(result[left], requires_grad=True)
            logits = model(z)
            going = np.flatnonzero(~is_fooled(logits.data, y[left], targeted=True))
            if not len(going) or taken == steps:
                break
            aim = one_hot(y[left], logits.shape[1])
            g = grad(ops.where(aim, logits, 0.0).sum(), z)[going]
            left = left[going]
            result[left] = project(z.data[going] + step * steepest(g, 2), x[left], eps, 2)
    return result
