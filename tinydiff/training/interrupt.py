"""Ctrl-C, heard but not obeyed at once: a step that has begun is finished and saved."""

from __future__ import annotations

import signal
import threading

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """``with Interrupt() as interrupt:`` the first Ctrl-C (or SIGTERM) sets interrupt.requested.

    The second acts as if this were not here.  Outside the main thread, where Python delivers no
    signals, nothing is changed.
    """

    requested = False

    def __enter__(self) -> Interrupt:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._note) for s in _SIGNALS}
        return self

    def __exit__(self, *exception) -> None:
        self._restore()

    def _note(self, number, frame) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
