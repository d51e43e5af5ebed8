"""A look at a network that leaves no trace on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def frozen(model) -> Iterator[None]:
    """``with frozen(model):`` it is in evaluation mode, and no parameter of it requires grad.

    Backward then computes no gradient of a weight, nothing draws random numbers or moves running
    statistics.  Afterwards each module has its mode again, and each parameter its flag.
    """
    modes = [(module, module.training) for module in model.modules()]
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval().requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in learned:
            parameter.requires_grad = True
