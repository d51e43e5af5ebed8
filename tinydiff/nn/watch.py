"""Looking on while a network runs: what did each layer answer?

`Module.summary` takes its output shapes from here, a visualiser its activations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

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
