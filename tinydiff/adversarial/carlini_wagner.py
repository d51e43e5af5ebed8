"""Carlini and Wagner's attack: the smallest change, in L2, as a problem for an optimiser.

    x' = ½(tanh w + 1),   minimise over w:   ‖x' − x‖² + c·max(0, κ + Z_y − max_{i≠y} Z_i)

tanh keeps x' within [0, 1] without clipping.  The second term says "not taken for y yet", and c how
much that counts: the smallest c that succeeds is searched for, for each picture, ten times as large
until it does and then by bisection.  Targeted, the sign of Z_y − max Z_i turns.

Source: N. Carlini and D. Wagner, "Towards evaluating the robustness of neural networks", 2017,
sections V and VI; D. Kingma and J. Ba, "Adam", 2015, for the steps.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import ops
from tinydiff.adversarial.ball import length, project
from tinydiff.adversarial.network import attacking, checked, margin
from tinydiff.backend import to_numpy, xp
from tinydiff.checks import at_least_one, positive
from tinydiff.nn import Module
from tinydiff.tensor import Tensor, grad

INSIDE = 0.999999  # of (−1, 1): black and white have no finite w
B1, B2, TINY = 0.9, 0.999, 1e-8  # Adam's
LOOKS, PROGRESS = 10, 0.9999  # so often a picture must have come so far, or its search ends


def carlini_wagner(
    model: Module,
    x,
    y,
    *,
    eps: float = math.inf,
    targeted: bool = False,
    confidence: float = 0.0,
    steps: int = 1000,
    lr: float = 0.01,
    search_steps: int = 9,
    c: float = 1e-3,
):
    """The pictures changed as little as it finds, in L2; those it cannot fool stay as they are.

    model         a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`
    x, y          floats in [0, 1], and the class of each; ``targeted``: what it is to be taken for
    eps           how far from x they may go, in L2; by default as far as it takes
    confidence    κ, by how much the logits of the wrong class are to be larger
    steps, lr     of Adam, for each c; a picture that gets no further ends earlier
    search_steps  how many c are tried, beginning with ``c``

    Raises ValueError or TypeError for arguments that do not fit.
    """
    x, y = checked(model, x, y, eps)
    at_least_one(steps=steps, search_steps=search_steps)
    positive(lr=lr, c=c)
    if not 0 <= confidence < math.inf:
        raise ValueError(f"confidence is {confidence}, expected ≥ 0")
    n = len(x)
    best, least = xp.array(x), np.full(n, np.inf)
    low, high, weight = np.zeros(n), np.full(n, np.inf), np.full(n, float(c))
    with attacking(model, x):
        for _ in range(search_steps):
            found, distance = _search(model, x, y, weight, targeted, confidence, steps, lr)
            closer = np.flatnonzero(distance < least)
            best[closer], least[closer] = found[closer], distance[closer]
            fooled = np.isfinite(distance)
            high, low = np.where(fooled, weight, high), np.where(fooled, low, weight)
            weight = np.where(np.isinf(high), 10 * weight, (low + high) / 2)
    return project(best, x, eps, 2)


def _search(model, x, y, c, targeted, confidence, steps, lr) -> tuple:
    """The nearest pictures that fool the model on Adam's way down, for each one's c.

    Returns them and their distances, (N,) on the host, infinite where there was none.
    """
    best, least = xp.array(x), xp.full(len(x), xp.inf, x.dtype)
    sign = -1.0 if targeted else 1.0
    left, before = np.arange(len(x)), np.full(len(x), np.inf)
    w = xp.arctanh((2 * x - 1) * INSIDE)
    m, v = xp.zeros_like(w), xp.zeros_like(w)
    every = math.ceil(steps / LOOKS)
    for step in range(steps):
        here = Tensor(w, requires_grad=True)
        z = 0.5 * (ops.tanh(here) + 1)
        ahead = sign * margin(model(z), y[left]) + confidence
        loss = ((z - x[left]) ** 2).sum(axis=(1, 2, 3)) + ops.relu(ahead) * c[left]
        g = grad(loss.sum(), here)
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        rate = lr / (1 - B1 ** (step + 1))
        w = w - rate * m / (xp.sqrt(v / (1 - B2 ** (step + 1))) + TINY)

        distance = length(z.data - x[left], 2)
        better = (ahead.data <= 0) & (distance.reshape(-1) < least[left])
        best[left] = xp.where(better.reshape(distance.shape), z.data, best[left])
        least[left] = xp.where(better, distance.reshape(-1), least[left])
        if step % every == 0:
            now = to_numpy(loss.data)
            going = np.flatnonzero(now <= PROGRESS * before)
            if len(going) < len(left):
                left, w, m, v = left[going], w[going], m[going], v[going]
            before = now[going]
            if not len(left):
                break
    return best, to_numpy(least)
