"""Logit squeezing: a network that is not to be surer than it must, of noisy pictures.

    L(x + σn) + λ·mean_i ‖Z(x_i + σn_i)‖₂²,     n ~ N(0, I)

Small logits mean small differences between them, and small slopes.  Steps along the gradient then
find little; but the boundary may be as near as it was, and other attacks find it: that is why
defences are measured by several.

Source: H. Kannan, A. Kurakin, I. Goodfellow, "Adversarial logit pairing", 2018, section 3; what it
is worth: M. Mosbach et al., "Logit pairing methods can fool gradient-based attacks", 2018.
"""

from __future__ import annotations

import numpy as np

from tinydiff import ops
from tinydiff.adversarial.ball import moved
from tinydiff.adversarial.network import pictures
from tinydiff.adversarial.pictures import on_pictures
from tinydiff.backend import randn
from tinydiff.checks import positive
from tinydiff.nn import Module
from tinydiff.tensor import Tensor


def squeezing_loss(
    network: Module,
    x,
    labels,
    done: float = 1.0,
    *,
    weight: float,
    sigma: float = 0.5,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """The mean cross-entropy of noisy pictures, and ``weight`` times the mean square of ‖Z‖₂.

    network    a Module of what lies in [−1, 1], (N, H, W, C) → logits (N, K)
    x, labels  pictures, floats in [0, 1], and the class of each
    done       how far the run is, which is all the same here
    weight     λ
    sigma      σ, of brightness; what leaves [0, 1] is clipped
    rng        draws the noise, the process's generator by default

    Raises ValueError or TypeError for arguments that do not fit.
    """
    positive(weight=weight, sigma=sigma)
    x = pictures(x)
    logits = on_pictures(network)(moved(x, sigma * randn(x.shape, rng=rng, dtype=x.dtype)))
    return ops.cross_entropy(logits, labels) + weight * (logits * logits).sum(axis=1).mean()
