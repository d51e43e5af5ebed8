"""Looking on while a network runs: what did each layer answer?

`Module.summary` takes its output shapes from here, `multiply_adds` the work, a visualiser its
activations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tinydiff.nn.frozen import frozen
from tinydiff.recording import no_grad

_watchers: list[Callable] = []


@contextlib.contextmanager
def watching(callback: Callable) -> Iterator[None]:
    """``with watching(f):`` after each call of a module, inner ones first, f(module, output)."""
    _watchers.append(callback)
    try:
        yield
    finally:
        _watchers.remove(callback)


def being_watched() -> bool:
    """Is anyone looking on?"""
    return bool(_watchers)


def tell_watchers(module, output) -> None:
    """Called by every module with its answer."""
    for callback in _watchers:
        callback(module, output)


def try_out(model, callback: Callable, inputs: tuple, settings: dict) -> None:
    """Run a model once, without a trace, and tell ``callback(module, output)`` what its modules
    answer."""
    with watching(callback), frozen(model), no_grad():
        model(*inputs, **settings)
