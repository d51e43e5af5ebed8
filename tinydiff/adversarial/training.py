"""Adversarial training: a network learns from the pictures that fool it now.

    min_w Σ max_{‖d‖∞ ≤ ε} L(x + d, y; w)

The maximum is what an attack looks for, anew at each step; at the picture it ends at, the gradient
with respect to w is that of the maximum (Danskin's theorem), so that one goes down there as ever.

    PGD    several steps from a random point (A. Madry et al., "Towards deep learning models
           resistant to adversarial attacks", ICLR 2018, section 2)
    fast   one step of 1.25 ε from a random point (E. Wong et al., "Fast is better than free:
           revisiting adversarial training", ICLR 2020, algorithm 3)

A network that begins with all of ε may learn nothing but how often each class comes; and one that
meets nothing but single steps may learn to stop these, and no others (catastrophic overfitting).
Against both, ε grows from nothing over the first part of the run.  A long fast run may overfit even
so: it is to be measured by PGD.
"""

from __future__ import annotations

import numpy as np

from tinydiff import ops
from tinydiff.adversarial.gradient import pgd
from tinydiff.adversarial.pictures import on_pictures
from tinydiff.checks import positive
from tinydiff.nn import Module
from tinydiff.tensor import Tensor

GROWING = 0.4  # the share of the run in which ε grows

PGD = {"steps": 7, "step": 1 / 3}
FAST = {"steps": 1, "step": 1.25}


def adversarial_loss(
    network: Module,
    x,
    labels,
    done: float = 1.0,
    *,
    eps: float,
    steps: int,
    step: float,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """The mean cross-entropy of what `pgd` makes of the pictures, against the network as it is.

    network      a Module of what lies in [−1, 1], (N, H, W, C) → logits (N, K)
    x, labels    pictures, floats in [0, 1], and the class of each
    done         the share of the run that will be over then: ε is ``eps``·min(1, done/`GROWING`)
    steps, step  of the attack, α as a share of ε: `PGD`, or `FAST`
    rng          draws the starts, the process's generator by default

    The attack holds the network still; the loss sees it as it is, in training with its dropout.
    Raises ValueError or TypeError for arguments that do not fit.
    """
    positive(done=done, eps=eps, step=step)
    model = on_pictures(network)
    now = eps * min(1.0, done / GROWING)
    changed = pgd(model, x, labels, eps=now, steps=steps, step=step * now, rng=rng)
    return ops.cross_entropy(model(changed), labels)
