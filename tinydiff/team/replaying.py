"""On a GPU: a network asked for as a whole, forward and backward, and not kernel by kernel.

    first calls   as ever: kernels are compiled, and whatever is wrong with the inputs is said
    the next      recorded, with arrays of its own in the place of inputs, values and gradients
    from then on  inputs are copied into their places, the record is launched, the answer copied out

In the graph such a call is one node.  Its rules launch the way back, which writes the parameters'
gradients straight to where the optimiser wants them (`tinydiff.optim.flat`).

A record holds for inputs of the same shapes, and as long as the model's arrays stay where they are.
Everything else is computed as ever: what needs the host in the middle (see
tinydiff/kernels/cuda/graph.py), dropout in training for one, and a second call whose values would
take the place of those that the first one's way back has still to read.

Source: A. Nguyen et al., "Accelerating PyTorch with CUDA Graphs", 2021 (make_graphed_callables).
"""

from __future__ import annotations

import operator
import weakref
from collections import OrderedDict

from tinydiff import backend, kernels
from tinydiff.backend import xp
from tinydiff.graph import Node, walk_back
from tinydiff.kernels.settings import FAST
from tinydiff.nn.module import Module
from tinydiff.nn.watch import being_watched
from tinydiff.recording import is_recording
from tinydiff.team.diverting import Diverting
from tinydiff.team.shares import array, images_in, kind
from tinydiff.tensor import Tensor, node_of, once

AS_EVER = 2  # calls before one is recorded
MOST = 4  # records of different shapes that are kept, each with all its values


class Replaying(Diverting):
    """What `team_of` gives on a GPU."""

    def __init__(self, model: Module):
        super().__init__(model)
        self._records: dict[Module, _Records] = {}

    def refused(self) -> list[str]:
        """Why what could not be recorded could not."""
        return [why for records in self._records.values() for why in records.refused.values()]

    def close(self) -> None:
        self._records.clear()

    def _useful(self) -> bool:
        return FAST

    def _call(self, module: Module, inputs: tuple, settings: dict) -> Tensor:
        if settings or being_watched():
            return module.forward(*inputs, **settings)
        inputs = module.prepare(*inputs)
        record = None
        if images_in(inputs):
            record = self._records.setdefault(module, _Records(module)).of(inputs)
        return module.compute(*inputs) if record is None else record.play(inputs)


class _Records:
    """Of one module's calls.

    refused  what kind of call could not be recorded → the error
    """

    def __init__(self, module: Module):
        self.refused: dict[tuple, str] = {}
        self._module = module
        self._records: OrderedDict[tuple, _Record] = OrderedDict()
        self._calls: dict[tuple, int] = {}
        self._inside: list[Module] = []
        self._parameters: list[Tensor] = []
        self._changes: list[int] = []  # of the modules inside
        self._arrays: list = []  # the parameters' and, where they have one, their gradients' homes

    def of(self, inputs: tuple) -> _Record | None:
        """The record of such a call, made now if it is time for it, unless it is of no use"""
        self._forget_if_changed()
        kind_of_call = (
            is_recording(),
            tuple(None if x is None else (kind(x), x.shape, x.dtype.str) for x in inputs),
            tuple(m.training for m in self._inside),
            tuple(p.requires_grad for p in self._parameters),
        )
        if kind_of_call in self._records:
            self._records.move_to_end(kind_of_call)
            record = self._records[kind_of_call]
            return None if record.is_awaited() else record
        self._calls[kind_of_call] = calls = self._calls.get(kind_of_call, 0) + 1
        if calls <= AS_EVER or kind_of_call in self.refused:
            return None
        while len(self._records) >= MOST:
            self._records.popitem(last=False)
        try:
            record = _Record(self._module, inputs, self._parameters)
        except Exception as error:  # if something is wrong with the call, as ever it will be said
            self.refused[kind_of_call] = f"{type(error).__name__}: {error}"
            return None
        self._records[kind_of_call] = record
        return record

    def _forget_if_changed(self) -> None:
        changed = not self._inside or [m._changes for m in self._inside] != self._changes
        if changed:
            self._inside = list(self._module.modules())
            self._parameters = list(self._module.parameters())
            self._changes = [m._changes for m in self._inside]
        arrays = [a for p in self._parameters for a in (p.data, p._home)]
        moved = len(arrays) != len(self._arrays) or not all(map(operator.is_, arrays, self._arrays))
        if changed or moved:
            self._arrays = arrays
            for kept in (self.refused, self._records, self._calls):
                kept.clear()


class _Record:
    """module.compute(*inputs) and its way back, recorded."""

    def __init__(self, module: Module, inputs: tuple, parameters: list[Tensor]):
        recorder = kernels.Recorder()
        self._compute = module.compute
        self._places = [_place(x) for x in inputs]
        learned = [p for p in parameters if p.requires_grad] if is_recording() else []
        # Where each leaf's gradient goes
        self._homes = {p: xp.empty_like(p.data) if p._home is None else p._home for p in learned}
        for place in self._places:
            if isinstance(place, Tensor) and place.requires_grad:
                self._homes[place] = xp.empty_like(place.data)
        self._sources: list[Tensor] = []  # the leaves that backward reaches
        self._ticket = None  # a weak reference to what somebody may come back with
        self._forward = recorder.record(self._go)
        self._slope = self._backward = None
        if self._y.requires_grad:
            self._slope = xp.empty_like(self._answer)
            self._backward = recorder.record(self._go_back)
        self._y = None

    def is_awaited(self) -> bool:
        """Is there still a graph that may be walked back, and needs the values of its call?"""
        return self._ticket is not None and self._ticket() is not None

    def play(self, inputs: tuple) -> Tensor:
        for place, x in zip(self._places, inputs, strict=True):
            if x is not None:
                array(place)[...] = backend.asarray(array(x))
        self._forward()
        y = Tensor(self._answer.copy())
        if self._backward is not None:
            pairs = zip(self._places, inputs, strict=True)
            given = {place: x for place, x in pairs if isinstance(place, Tensor)}
            outside = [node_of(given.get(leaf, leaf)) for leaf in self._sources]
            ticket = _Ticket()
            self._ticket = weakref.ref(ticket)
            gradients = once(lambda g: self._walk(g, ticket))
            rules = [lambda g, i=i: gradients(g)[i] for i in range(len(outside))]
            y.requires_grad, y._node = True, Node(y.shape, outside, rules)
        return y

    def _go(self) -> None:
        self._y = self._compute(*self._places)
        self._answer = self._y.data

    def _go_back(self) -> None:
        reached = {}
        for node, gradient in walk_back(node_of(self._y), self._slope, None, False):
            leaf = node.leaf()
            if leaf in reached:
                self._homes[leaf] += gradient
            else:
                self._homes[leaf][...] = gradient
                reached[leaf] = None
        self._sources = list(reached)

    def _walk(self, g, ticket: _Ticket) -> list:
        """The gradients of the leaves"""
        homes = [self._homes[leaf] for leaf in self._sources]
        # Gradients that are there already are added to; they must not be written over.
        kept = [
            home.copy() if leaf.grad is home else None
            for leaf, home in zip(self._sources, homes, strict=True)
        ]
        self._slope[...] = g
        self._backward()
        gradients = []
        for leaf, home, before in zip(self._sources, homes, kept, strict=True):
            away = before is not None or leaf._home is not home
            gradients.append(home.copy() if away else home)
            if before is not None:
                home[...] = before
        return gradients


class _Ticket:
    """Lives as long as the graph in which a record's call is a node."""


def _place(x):
    """An array like x's, for the record alone"""
    if x is None:
        return None
    own = backend.asarray(array(x)).copy()
    return Tensor(own, requires_grad=kind(x) == "learned") if isinstance(x, Tensor) else own
