"""Gradient clipping by global norm: g ← g · min(1, max_norm / ‖g‖), over all gradients together.

Source: R. Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinydiff import kernels
from tinydiff.optim.optimiser import Optimiser
from tinydiff.tensor import Tensor


def clip_grad_norm(parameters: Optimiser | Iterable[Tensor], max_norm: float) -> float:
    """Scale the gradients so that their norm is at most ``max_norm``; returns the norm before.

    parameters  an optimiser, for all that it learns, or tensors (those without grad are skipped)
    max_norm    > 0; infinity only measures

    On a GPU the norm is a 0-d array there, and float() waits for it.

    Gradients of infinite or undefined norm are left as they are: look at what is returned.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm: max_norm is {max_norm}, expected > 0")
    if isinstance(parameters, Tensor):
        raise TypeError("clip_grad_norm: parameters is one Tensor, expected an iterable: [x]")
    if isinstance(parameters, Optimiser):
        parameters.flat.gather()
        gradients = [parameters.flat.grad]
    else:
        gradients = [p.grad for p in parameters if p.grad is not None]
    norm = kernels.norm([g.reshape(-1) for g in gradients])
    kernels.shrink(gradients, norm, max_norm)
    return norm
