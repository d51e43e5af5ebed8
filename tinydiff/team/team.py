"""A network in several processes, each of which computes its share of every batch.

What a network answers for an image does not depend on the others in the batch, and the gradient of
the loss is a sum over images,

    ∂L/∂w = Σ_shares (∂y_share/∂w)ᵀ ∂L/∂y_share

So a batch may be cut into shares: this process computes the first, its helpers the others, forward
and backward.  Inputs, outputs and their gradients pass between them; the weights lie in memory that
all of them see.

    with team_of(model):
        loss = ops.mse_loss(model(x, t), target)        # model(x, t) is computed by all
    loss.backward()                                     # and so is this

Why not threads?  They hand over Python's lock at each call of NumPy, which takes as long as some
30,000 additions: two are hardly faster than one at anything but large products.  Processes meet
twice in a step, or once for many steps with the same images (`Team.share`).

In the graph a shared call is one node, y's.  Inside it has its own share's nodes, and two that talk
to the helpers, which are made when backward comes:

    inputs, weights ─┬─→ own share ──┬─→ put together = y
                     └─→ handed out ─┘

Backward begins with "put together", which sends the helpers their part of ∂L/∂y, and ends with
"handed out", which brings their gradients.

Source: S. Li et al., "PyTorch Distributed: experiences on accelerating data parallel training",
VLDB 2020, section 2.
"""

from __future__ import annotations

import itertools
import sys
import threading
import weakref
from collections.abc import Callable

import numpy as np

from tinydiff import backend
from tinydiff.graph import Node, births, made_since
from tinydiff.kernels import workers
from tinydiff.nn.module import Module
from tinydiff.nn.watch import being_watched
from tinydiff.optim.flat import flats_of
from tinydiff.recording import is_recording
from tinydiff.team.diverting import Diverting, one_for
from tinydiff.team.helper import Answer, Helper, computed, name_of
from tinydiff.team.line import shared_views
from tinydiff.team.replaying import Replaying
from tinydiff.team.shares import array, images_in, kind, outermost
from tinydiff.team.ticket import Ticket, Walk
from tinydiff.tensor import Tensor, node_of

WORTH = 1 << 30  # numbers in × weights: about from 10 ms of arithmetic on, the helpers pay


def team_of(model: Callable) -> Team | Replaying:
    """The model's Team, where somebody has one, or a new one.  It lives as long as it is held.

    On a GPU, for which one process is enough, it is a `Replaying`.  What only goes around one
    network has that network's.  A model that is no Module, a function say, is computed as ever.
    """
    if not isinstance(model, Module):
        return Diverting.chosen(Module())
    shared = list(outermost(model))
    if len(shared) == 1:
        model = shared[0]
    return one_for(model)


class Team(Diverting):
    """``with team:`` what the model is given is computed by as many processes as there are cores.

    Shared out are calls of those modules in ``model``, the outermost ones, that promise
    `Module.independent_images`, if the batch is large enough to pay for it.  All else is computed
    as ever, and so is everything with one thread, or where processes cannot be forked; on a GPU,
    which one process keeps busy, `team_of` gives a `Replaying`.
    The helpers start with the first batch and end with the Team.
    """

    def __init__(self, model: Module):
        super().__init__(model)
        self._weights: list[int] = []  # how many, of each
        self._helpers: list[Helper] = []
        # What the helpers know of the model, besides its modules above; they are told of each
        # module's `training` and parameter's `requires_grad`, and see the values in the arrays.
        self._inside: list[Module] = []
        self._changes: list[int] = []
        self._parameters: list[Tensor] = []
        self._arrays: list[np.ndarray] = []
        self._calls = 0
        self._lock = threading.Lock()
        weakref.finalize(self, _end, self._helpers)

    def __enter__(self) -> Team:
        before = self._modules
        super().__enter__()
        if self._modules is not before:
            self._weights = [m.num_parameters() for m in self._modules]
        return self

    def _useful(self) -> bool:
        return backend.name == "numpy" and workers.THREADS > 1 and sys.platform == "linux"

    def share(self, function: Callable, module: Module, inputs: tuple, settings: dict) -> Tensor:
        """function(module, *inputs, **settings), by all of us if that pays

        For what asks the module many times about the same images: each process does all of it with
        its own, and we meet once.  The function promises what `Module.independent_images` does of
        ``forward``, of inputs and the Tensor it returns.  Settings are what JSON can hold.  Raises
        ValueError for a function that an older helper could not find by its name: one of no Python
        module, or inside of another.
        """
        name = name_of(function)
        if module not in self._modules:
            return function(module, *inputs, **settings)
        return self._by_all(module, inputs, {"function": name, "settings": settings})

    def _call(self, module: Module, inputs: tuple, settings: dict) -> Tensor:
        """module.forward(*inputs, **settings), by all of us if that pays"""
        if settings:
            return module.forward(*inputs, **settings)
        return self._by_all(module, inputs, {"function": None, "settings": {}})

    def _by_all(self, module: Module, inputs: tuple, work: dict) -> Tensor:
        """`computed`(module, inputs, work), by all of us if that pays"""
        place = self._modules.index(module)
        if (
            images_in(inputs) < workers.THREADS
            or inputs[0].size * self._weights[place] < WORTH
            or being_watched()
            or not self._lock.acquire(blocking=False)
        ):
            return computed(module, inputs, work)
        try:
            try:
                self._be_ready()
            except OSError:  # no memory or no room for another process: slower, but no harm
                self.close()
                return computed(module, inputs, work)
            return self._together(place, inputs, work)
        finally:
            self._lock.release()

    def _together(self, place: int, inputs: tuple, work: dict) -> Tensor:
        n, shares = len(inputs[0]), len(self._helpers) + 1
        bounds = [n * k // shares for k in range(shares + 1)]
        own, *parts = (slice(*ends) for ends in itertools.pairwise(bounds))
        self._calls += 1
        began = next(births)
        question = {
            "task": "forward",
            "call": self._calls,
            "module": place,
            "work": work,
            "inputs": [kind(x) for x in inputs],
            "record": is_recording(),
            "training": [m.training for m in self._inside],
            "learned": [p.requires_grad for p in self._parameters],
            "random": backend.rng.bit_generator.state,
        }
        module = self._modules[place]
        try:
            answers = [
                helper.ask(
                    {**question, "part": (n, part.start, part.stop)},
                    [array(x)[part] for x in inputs if x is not None],
                )
                for helper, part in zip(self._helpers, parts, strict=True)
            ]
            with backend.seeing_part(n, own.start, own.stop):
                first = computed(module, [None if x is None else x[own] for x in inputs], work)
            if not isinstance(first, Tensor) or first.shape[:1] != (own.stop,):
                who = work["function"] or type(module).__name__
                got = getattr(first, "shape", type(first).__name__)
                raise TypeError(
                    f"{who} promises independent_images, and returned {got} for {own.stop} images; "
                    "expected one Tensor, with an entry for each"
                )
            y = Tensor(np.concatenate([first.data, *(answer.output for answer in answers)]))
        except BaseException:
            self.close()  # whatever they are at, nobody will ask for it
            raise
        if is_recording():
            ticket = Ticket(self, self._calls, self._helpers, own, parts)
            self._record(y, inputs, first, began, answers, ticket)
        return y

    def _record(self, y, inputs, first, began: int, answers: list[Answer], ticket: Ticket) -> None:
        """Give y the node described above, if any share hangs on something that requires grad."""
        learned = (x for x in inputs if kind(x) == "learned")
        nodes = [node_of(x) for x in (*self._parameters, *learned)]  # by their places
        own_share, used = made_since(began, node_of(first)) if first.requires_grad else ([], set())
        if not used.issubset(nodes):
            self.close()
            raise TypeError(
                f"{type(self.model).__name__}: a module that promises independent_images computes "
                "with a Tensor that requires grad, and is neither its Parameter nor its input; "
                "make it a Parameter, or do not promise"
            )
        ours = (i for i, node in enumerate(nodes) if node in used)
        places = sorted(set(ours).union(*(answer.places for answer in answers)))
        if not places:
            return
        outside, shape, after = [nodes[i] for i in places], y.shape, len(self._parameters)

        def inside(retain_graph: bool) -> list[Node]:
            walk = Walk(ticket, retain_graph)
            rules = [lambda _, i=i: walk.of_parameter(i) for i in places if i < after]
            rules += [lambda _, i=i: walk.of_input(i, nodes[i].shape) for i in places if i >= after]
            handed_out = Node((), outside, rules)
            ends = handed_out, *own_share[-1:]  # there is none where it hangs on nothing
            put_together = Node(shape, ends, (walk.ask, lambda g: g[ticket.own])[: len(ends)])
            return [handed_out, *own_share, put_together]

        y.requires_grad = True
        y._node = Node(shape, outside, inside)

    def _be_ready(self) -> None:
        """Have helpers that know the model as it is: new ones, if it was changed since."""
        if (
            self._helpers
            and not any(helper.lost for helper in self._helpers)
            and [m._changes for m in self._inside] == self._changes
            and all(p.data is a for p, a in zip(self._parameters, self._arrays, strict=True))
        ):
            return
        self.close()
        self._inside = [m for module in self._modules for m in module.modules()]
        found = (p for module in self._modules for p in module.parameters())
        self._parameters = list(dict.fromkeys(found))
        _bring_into_shared_memory(self._parameters)
        self._changes = [m._changes for m in self._inside]
        self._arrays = [p.data for p in self._parameters]
        for _ in range(workers.THREADS - 1):
            self._helpers.append(Helper(self._modules, self._inside, self._parameters))

    def close(self) -> None:
        """End the helpers; the next batch gets new ones."""
        _end(self._helpers)


Diverting.chosen = Replaying if backend.name == "cupy" else Team


def _end(helpers: list[Helper]) -> None:
    while helpers:
        helpers.pop().end()


def _bring_into_shared_memory(parameters: list[Tensor]) -> None:
    """What an optimiser keeps flat stays so; each array keeps its values."""
    at_home = set()
    for flat in flats_of(parameters):
        flat.move(*shared_views([flat.data]))
        at_home.update(flat.parameters)
    others = [p for p in parameters if p not in at_home]
    for p, shared in zip(others, shared_views([p.data for p in others]), strict=True):
        shared[...] = p.data
        p.data = shared
