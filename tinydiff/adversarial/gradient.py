"""Attacks that climb the loss inside a ball: FGSM, PGD, and PGD with momentum.

    x ← Π(x + α·steepest(∇_x L(x, y)))        Π: back into the ε-ball and [0, 1]

L is the cross-entropy with the true class, which is to grow; or, targeted, with another one, which
is to fall.  Loss and steps are those of every picture by itself, whatever else is in the batch.

    FGSM      one step of length ε from x (I. Goodfellow et al., "Explaining and harnessing
              adversarial examples", ICLR 2015)
    PGD       many short ones from a random point (A. Madry et al., "Towards deep learning models
              resistant to adversarial attacks", ICLR 2018)
    momentum  g ← μ g + ∇L/‖∇L‖₁, and a step along that (Y. Dong et al., "Boosting adversarial
              attacks with momentum", CVPR 2018: MI-FGSM is `pgd` with momentum=1.0, step=eps/steps
              and random_start=False)
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff.adversarial.ball import drawn_within, projection, steepest
from tinydiff.adversarial.network import attacking, checked, is_fooled, logits_of, loss_gradient
from tinydiff.backend import xp
from tinydiff.checks import at_least_one, positive
from tinydiff.nn import Module


def fgsm(model: Module, x, y, *, eps: float, targeted: bool = False):
    """x + ε·sign ∇L, the fast gradient sign method; arguments as in `pgd`.

    With a uniform start, as fast adversarial training has it (E. Wong et al., "Fast is better than
    free", ICLR 2020): ``pgd(…, steps=1, step=1.25 * eps)``.
    """
    return pgd(model, x, y, eps=eps, steps=1, step=eps, targeted=targeted, random_start=False)


def pgd(
    model: Module,
    x,
    y,
    *,
    eps: float,
    steps: int = 40,
    step: float | None = None,
    norm: float = math.inf,
    targeted: bool = False,
    momentum: float = 0.0,
    random_start: bool = True,
    restarts: int = 1,
    draws: int = 1,
    rng: np.random.Generator | None = None,
):
    """Projected gradient: the pictures changed by ``eps`` at most, an array like x.

    model     a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`
    x, y      floats in [0, 1], and for each its class; ``targeted``: the one it is to be taken for
    norm      of the ball, ``math.inf`` or 2
    step      α; by default 2.5 ε/steps, so that the boundary can be reached from anywhere inside
    momentum  μ
    restarts  how often to begin, at another random point, with the pictures that do not fool the
              model yet
    draws     gradients of which each step takes the mean: of a model in whose answers chance has a
              hand (expectation over transformation, EOT: A. Athalye et al., "Obfuscated gradients
              give a false sense of security", ICML 2018, section 4.2)
    rng       draws the starts, the process's generator by default

    The model stays as it was, gradients included.  Raises ValueError or TypeError for arguments
    that do not fit.
    """
    x, y = checked(model, x, y, eps, norm)
    at_least_one(steps=steps, restarts=restarts, draws=draws)
    step = 2.5 * eps / steps if step is None else step
    positive(eps=eps, step=step)
    if not 0 <= momentum < math.inf:
        raise ValueError(f"momentum is {momentum}, expected ≥ 0")
    if restarts > 1 and not random_start:
        raise ValueError(f"restarts={restarts} of the same start: expected random_start=True, or 1")

    result, left = xp.array(x), np.arange(len(x))
    climb = {
        "eps": float(eps),
        "steps": int(steps),
        "step": float(-step if targeted else step),
        "norm": float(norm),
        "momentum": float(momentum),
        "draws": int(draws),
    }
    with attacking(model, x) as together:
        for _ in range(restarts):
            some, labels = x[left], y[left]
            start = drawn_within(some, eps, norm, rng) if random_start else some
            result[left] = together(ascend, some, start, labels, **climb)
            if restarts > 1:
                fooled = is_fooled(logits_of(model, result[left]), labels, targeted)
                left = left[~fooled]
                if not len(left):
                    break
    return result


def ascend(
    model: Module,
    x,
    start,
    y: np.ndarray,
    *,
    eps: float,
    steps: int,
    step: float,
    norm: float,
    momentum: float,
    draws: int,
):
    """Climb from ``start``, staying in the balls around x; the arguments are those of `pgd`."""
    z, velocity, back = start, 0.0, projection(x, eps, norm)
    for _ in range(steps):
        g = loss_gradient(model, z, y, draws)
        if momentum:
            size = xp.maximum(xp.abs(g).sum(axis=(1, 2, 3), keepdims=True), 1e-12)
            g = velocity = momentum * velocity + g / size
        z = back(z + step * steepest(g, norm))
    return z
