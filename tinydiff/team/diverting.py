"""Who answers in the place of a model's modules: what all of them share."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from tinydiff.nn.module import Module, diverted
from tinydiff.team.shares import outermost
from tinydiff.tensor import Tensor


class Diverting:
    """``with it:`` calls of those modules in ``model``, the outermost ones, that promise
    `Module.independent_images`, are answered by `_call`, if there is any use in it.

    chosen  which of those derived from this is used here (set in team.py)
    """

    chosen: type[Diverting]

    def __init__(self, model: Module):
        self.model = model
        self._modules: list[Module] = []  # those whose calls are diverted
        self._entered: list[list[Module]] = []

    def __reduce__(self):
        """A copied model has one of its own, of the kind that is chosen where it is copied to."""
        return one_for, (self.model,)

    def __enter__(self):
        found = list(outermost(self.model)) if self._useful() else []
        if found != self._modules:
            self.close()
            self._modules = found
        for module in found:
            diverted.setdefault(module, []).append(self._call)
        self._entered.append(found)
        return self

    def __exit__(self, *exception) -> None:
        for module in self._entered.pop():
            calls = diverted.get(module)  # none in a process that the user forked meanwhile
            if calls:
                calls.pop()
            if not calls:
                diverted.pop(module, None)

    def share(self, function: Callable, module: Module, inputs: tuple, settings: dict) -> Tensor:
        """function(module, *inputs, **settings)"""
        return function(module, *inputs, **settings)

    def close(self) -> None:
        """Let go of all that was kept for the modules; with the next batch it is made anew."""

    def _useful(self) -> bool:
        raise NotImplementedError

    def _call(self, module: Module, inputs: tuple, settings: dict) -> Tensor:
        raise NotImplementedError


_living: weakref.WeakKeyDictionary[Module, weakref.ref[Diverting]] = weakref.WeakKeyDictionary()


def one_for(model: Module) -> Diverting:
    """The model's, where somebody has one, or a new one.  It lives as long as it is held."""
    known = _living.get(model)
    found = None if known is None else known()
    if found is None:
        found = Diverting.chosen(model)
        _living[model] = weakref.ref(found)
    return found
