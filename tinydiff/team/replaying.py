"""On a GPU: a network asked for as a whole, forward and backward, and not kernel by kernel.

    first calls   as ever: kernels are compiled, and whatever is wrong with the inputs is said
    the next      recorded, with arrays of its own in the place of inputs, values and gradients
    from then on  inputs are copied into their places, the record is launched, the answer copied out

In the graph such a call is one node.  Its rules launch the way back, which writes the parameters'
gradients straight to where the optimiser wants them (`tinydiff.optim.flat`).

A record holds for inputs of the same shapes, and as long as the model's arrays stay where they are.
Everything else is computed as ever: what needs the host in the middle (see
tinydiff/kernels/cuda/graph.py), dropout in training for one; a second call whose values would take
the place of those that the first one's way back has still to read; another thread's while one is at
it.  A module must not hang on anything but its inputs, its attributes and those of the modules
inside: that is in `Module.independent_images`' promise.

Source: A. Nguyen et al., "Accelerating PyTorch with CUDA Graphs", 2021 (make_graphed_callables).
"""

from __future__ import annotations

import operator
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable

from tinydiff import backend, kernels
from tinydiff.backend import xp
from tinydiff.graph import Node, walk_back
from tinydiff.kernels.settings import FAST
from tinydiff.nn.module import Module
from tinydiff.nn.watch import being_watched
from tinydiff.ops.relu import is_rule_set
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
        self._lock = threading.Lock()

    def __exit__(self, *exception) -> None:
        super().__exit__(*exception)
        if isinstance(exception[1], MemoryError):  # records hold much of it
            self.close()

    def refused(self) -> list[str]:
        """Why what could not be recorded could not."""
        return [why for records in self._records.values() for why in records.refused.values()]

    def close(self) -> None:
        self._records.clear()

    def _useful(self) -> bool:
        return FAST

    def _call(self, module: Module, inputs: tuple, settings: dict) -> Tensor:
        special = being_watched() or is_rule_set() or kernels.is_capturing()
        if settings or special or not self._lock.acquire(blocking=False):
            return module.forward(*inputs, **settings)
        try:
            compute = module.forward
            if type(module).forward is Module.forward and "forward" not in vars(module):
                compute, inputs = module.compute, module.prepare(*inputs)
            record = None
            if images_in(inputs):
                if module not in self._records:
                    self._records[module] = _Records(module)
                record = self._records[module].of(compute, inputs)
            return compute(*inputs) if record is None else record.play(inputs)
        finally:
            self._lock.release()


class _Records:
    """Of one module's calls; a call's key says what another must share with it.

    refused  key → why such a call could not be recorded
    """

    def __init__(self, module: Module):
        self.refused: dict[tuple, str] = {}
        self._module = module
        self._records: OrderedDict[tuple, _Record] = OrderedDict()
        self._calls: Counter[tuple] = Counter()  # that were computed as ever, since the last record
        self._dropped: Counter[tuple] = Counter()  # records
        self._inside: list[Module] = []
        self._parameters: list[Tensor] = []
        self._changes: list[int] = []  # of the modules inside
        self._arrays: list = []  # the parameters' and, where they have one, their gradients' homes

    def of(self, compute: Callable, inputs: tuple) -> _Record | None:
        """The record of compute(*inputs), made now if it is time for it.

        None: compute it as ever.
        """
        self._forget_if_changed()
        key = (
            is_recording(),
            tuple(None if x is None else (kind(x), x.shape, x.dtype.str) for x in inputs),
            tuple(m.training for m in self._inside),
            tuple(p.requires_grad for p in self._parameters),
        )
        if key in self._records:
            self._records.move_to_end(key)
            record = self._records[key]
            return None if record.is_awaited() else record
        self._calls[key] += 1
        # Who has more shapes than are kept would have them recorded again and again.
        enough = self._calls[key] > AS_EVER << 2 * self._dropped[key]
        learning = is_recording() and any(p.grad is not None for p in self._parameters)
        if not enough or key in self.refused or learning:
            return None
        while len(self._records) >= MOST:
            dropped, _ = self._records.popitem(last=False)
            self._dropped[dropped] += 1
            self._calls[dropped] = 0
        random = backend.rng.bit_generator.state
        try:
            record = _Record(compute, inputs, self._parameters)
        except Exception as error:  # if something is wrong with the call, as ever it will be said
            backend.rng.bit_generator.state = random
            self.refused[key] = f"{type(error).__name__}: {error}"
            return None
        self._records[key] = record
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
            for kept in (self.refused, self._records, self._calls, self._dropped):
                kept.clear()


class _Record:
    """compute(*inputs) and its way back, recorded."""

    def __init__(self, compute: Callable, inputs: tuple, parameters: list[Tensor]):
        recorder = kernels.Recorder()
        weakref.finalize(self, recorder.close).atexit = False
        self._compute = compute
        self._places = [_place(x) for x in inputs]
        learned = [p for p in parameters if p.requires_grad] if is_recording() else []
        # Where each leaf's gradient goes
        self._homes = {p: xp.empty_like(p.data) if p._home is None else p._home for p in learned}
        for place in self._places:
            if isinstance(place, Tensor) and place.requires_grad:
                self._homes[place] = xp.empty_like(place.data)
        self._sources: list[Tensor] = []  # the leaves that backward reaches
        self._ticket = None  # a weak reference to what somebody may come back with
        self._forward = recorder.record(self._compute_value)
        self._slope = self._backward = None
        if self._value.requires_grad:
            self._slope = xp.zeros_like(self._answer)
            self._backward = recorder.record(self._compute_gradients)
        self._value = None

    def _compute_value(self) -> None:
        self._value = self._compute(*self._places)
        self._answer = self._value.data

    def _compute_gradients(self) -> None:
        reached = {}
        for node, gradient in walk_back(node_of(self._value), self._slope, None, False):
            leaf = node.leaf()
            if leaf in reached:
                self._homes[leaf] += gradient
            else:
                self._homes[leaf][...] = gradient
                reached[leaf] = None
        self._sources = list(reached)

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
            gradients = once(lambda g: self._play_back(g, ticket))
            rules = [lambda g, i=i: gradients(g)[i] for i in range(len(outside))]
            y.requires_grad, y._node = True, Node(y.shape, outside, rules)
        return y

    def _play_back(self, g, ticket: _Ticket) -> list:
        """The gradients of the leaves"""
        if is_rule_set():
            raise RuntimeError(
                "relu_rule: this network was asked for as a whole, with ReLU's own rule; open "
                "relu_rule around the forward pass too"
            )
        if ticket.walked:  # which has let go of the values
            self._forward()
        ticket.walked = True
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

    walked = False


def _place(x):
    """An array like x's, for the record alone"""
    if x is None:
        return None
    own = backend.asarray(array(x)).copy()
    return Tensor(own, requires_grad=kind(x) == "learned") if isinstance(x, Tensor) else own
