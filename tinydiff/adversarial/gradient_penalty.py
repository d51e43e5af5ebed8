"""A network that changes slowly: the slope of its loss is made small around each picture.

    L + λ·mean_i ((L(x_i + h d_i) − L(x_i))/h)²,     d_i = g_i/‖g_i‖₂,   g_i = ∇L(x_i)

Along its own gradient the loss grows by ‖g_i‖₂, so this is λ‖g_i‖₂².  The quotient is how to have
it without differentiating a gradient: d_i is a constant for backward, which costs nothing, since
the slope is the steepest there is and does not change to first order as d_i turns.

Source: C. Finlay and A. Oberman, "Scaleable input gradient regularization for adversarial
robustness", Machine Learning with Applications 2021, section 4; H. Drucker and Y. LeCun, "Improving
generalization performance using double backpropagation", 1992, for the penalty.
"""

from __future__ import annotations

from tinydiff import ops
from tinydiff.adversarial.ball import steepest
from tinydiff.adversarial.network import attacking, checked, loss_gradient
from tinydiff.adversarial.pictures import on_pictures
from tinydiff.checks import positive
from tinydiff.nn import Module
from tinydiff.tensor import Tensor


def gradient_penalty_loss(
    network: Module, x, labels, done: float = 1.0, *, weight: float, h: float = 0.01
) -> Tensor:
    """The mean cross-entropy, and ``weight`` times the mean square of its slope at each picture.

    network    a Module of what lies in [−1, 1], (N, H, W, C) → logits (N, K); without dropout,
               which would change the loss by itself from x to x + hd
    x, labels  pictures, floats in [0, 1], and the class of each
    done       how far the run is, which is all the same here
    weight     λ, of a slope by brightness
    h          how far it looks, as Euclidean distance; the difference of what is much nearer drowns
               in float32's rounding

    Raises ValueError or TypeError for arguments that do not fit.
    """
    positive(weight=weight, h=h)
    model = on_pictures(network)
    x, labels = checked(model, x, labels, h)
    with attacking(model, x):
        d = steepest(loss_gradient(model, x, labels), 2)
    here, there = (ops.cross_entropy(model(z), labels, reduction="none") for z in (x, x + h * d))
    slope = (there - here) / h
    return here.mean() + weight * (slope * slope).mean()
