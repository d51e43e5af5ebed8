"""Holding a network still: a function of its input, and of nothing that is learned or random."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tinydiff.nn.module import Module


@contextlib.contextmanager
def fixed(model: Module) -> Iterator[None]:
    """``with fixed(model):`` in evaluation mode, no parameter learns; afterwards all is as before.

    Gradients with respect to inputs go through as ever, and cost less: those of frozen weights are
    not computed.
    """
    modules, parameters = list(model.modules()), list(model.parameters())
    modes, learned = [m.training for m in modules], [p.requires_grad for p in parameters]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for parameter, flag in zip(parameters, learned, strict=True):
            parameter.requires_grad = flag
