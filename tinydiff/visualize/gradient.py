"""The gradient with respect to the picture, from any number in the network; ReLU's rule to choose.

    ∂a/∂x       by the rule "plain", or what "deconvnet" and "guided" show instead of it

Max-pooling sends a gradient back to where it found its maximum, which is what deconvnets call its
switches, so ReLU's is the only rule there is to change (tinydiff/ops/relu.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_input
from tinydiff.nn import Module, frozen
from tinydiff.ops.relu import relu_rule
from tinydiff.tensor import Tensor, grad
from tinydiff.visualize.target import Objective

BATCH = 64


def input_gradient(model: Module, x, target: Objective, *, rule: str = "plain") -> tuple:
    """The target's numbers (N,) for a batch x (N, H, W, C), and their gradients, of x's shape.

    x and both results are arrays of the backend.  The model computes in evaluation mode and
    without gradients of its weights, and is as before afterwards.
    Raises ValueError for a target that is no number per picture, or does not depend on it, and for
    "deconvnet" and "guided" where there is no ReLU between target and picture.
    """
    x = Tensor(x, requires_grad=True)
    with frozen(model), relu_rule(rule) as way:
        numbers = target(model, x)
        if not isinstance(numbers, Tensor) or numbers.shape != x.shape[:1]:
            got = getattr(numbers, "shape", type(numbers).__name__)
            raise ValueError(f"target: it gave {got}, expected a Tensor {x.shape[:1]}")
        if not numbers.requires_grad:
            raise ValueError("target: it does not depend on the picture")
        gradient = grad(numbers.sum(), x)
    if rule != "plain" and not way.passed:
        raise ValueError(
            f"rule: {rule!r} is one of ReLU's, and there is no ReLU between this target and the "
            f'picture in {type(model).__name__}; use "plain"'
        )
    return numbers.data, gradient


def gradient(
    model: Module, images: np.ndarray, target: Objective, *, rule: str = "plain"
) -> np.ndarray:
    """∂target/∂picture, (N, H, W, C), signed, for pictures uint8 or floats in [−1, 1].

    rule "deconvnet" and "guided" give the reconstructions of the papers named in ops/relu.py.
    Raises what `input_gradient` does, and TypeError or ValueError for other pictures.
    """
    return gradients_at(model, input_of(model, images), target, rule=rule)


def has_relu(model: Module, images: np.ndarray, target: Objective) -> bool:
    """Is there a ReLU between target and picture, whose rules can be used?"""
    x = Tensor(asarray(input_of(model, images[:1])), requires_grad=True)
    with frozen(model), relu_rule("plain") as way:
        grad(target(model, x).sum(), x)
    return way.passed > 0


def gradients_at(
    model: Module, x: np.ndarray, target: Objective, *, rule: str = "plain"
) -> np.ndarray:
    """`gradient` at floats (N, H, W, C) of any range, such as noisy pictures."""
    parts = [input_gradient(model, part, target, rule=rule)[1] for part in batches(x)]
    return np.concatenate([to_numpy(part) for part in parts])


def input_of(model: Module, images: np.ndarray) -> np.ndarray:
    """Pictures, checked, as the model takes them: floats in [−1, 1], of its parameters' dtype."""
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    return to_input(images, dtype)


def batches(x: np.ndarray) -> Iterator:
    """BATCH at a time, as arrays of the backend; a progress bar, if it takes long."""
    from tqdm import trange  # see tinydiff/training/progress.py

    for start in trange(0, len(x), BATCH, desc="looking", delay=2, leave=False):
        yield asarray(x[start : start + BATCH])
