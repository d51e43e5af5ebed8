"""Whether operations are recorded in the graph: `no_grad` turns that off, for this thread."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable


class _Thread(threading.local):
    recording = True


_thread = _Thread()


def is_recording() -> bool:
    """Not inside `no_grad`?"""
    return _thread.recording


class no_grad:
    """``with no_grad():`` (or ``@no_grad()``): operations inside remember nothing."""

    _record = False

    def __init__(self):
        self._before = []  # one object may be entered again while it is open

    def __enter__(self) -> None:
        self._before.append(_thread.recording)
        _thread.recording = self._record

    def __exit__(self, *exception) -> None:
        _thread.recording = self._before.pop()

    def __call__(self, function: Callable) -> Callable:
        if inspect.isgeneratorfunction(function):
            raise TypeError(
                f"no_grad: {function.__name__} is a generator, whose body runs after the call; "
                "open no_grad inside it, between two yields"
            )

        @functools.wraps(function)
        def silent(*args, **settings):
            with no_grad():
                return function(*args, **settings)

        return silent


class recording(no_grad):
    """The opposite, for what is computed again within `backward`, wherever that is called."""

    _record = True
