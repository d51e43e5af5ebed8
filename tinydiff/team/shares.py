"""What may be shared out: which modules of a model, and which inputs of a call."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinydiff.backend import xp
from tinydiff.nn.module import Module
from tinydiff.recording import is_recording
from tinydiff.tensor import Tensor


def outermost(module: Module) -> Iterator[Module]:
    """The modules that promise independent images, without those inside of others."""
    if module.independent_images:
        if not list(module.buffers()):  # statistics over the batch, say
            yield module
        return
    for value in vars(module).values():
        if isinstance(value, Module):
            yield from outermost(value)


def images_in(inputs: tuple) -> int:
    """How many images there are, if all inputs are of as many (None aside); otherwise 0"""
    given, kinds = [x for x in inputs if x is not None], (Tensor, np.ndarray, xp.ndarray)
    if not inputs or not all(isinstance(x, kinds) and x.ndim for x in given):
        return 0
    lengths = {len(x) for x in given}
    return lengths.pop() if inputs[0] is not None and len(lengths) == 1 else 0


def kind(x) -> str:
    if x is None:
        return "none"
    if isinstance(x, Tensor):
        return "learned" if x.requires_grad and is_recording() else "tensor"
    return "array"


def array(x) -> np.ndarray:
    return x.data if isinstance(x, Tensor) else x
