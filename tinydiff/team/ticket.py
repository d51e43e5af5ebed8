"""What a shared call leaves in the graph: the right to ask the helpers for their gradients."""

from __future__ import annotations

import weakref

import numpy as np

from tinydiff.team.helper import Answer, Helper


class Ticket:
    """A shared call that backward may come for, once or more: who computed which images?"""

    def __init__(self, team, call: int, helpers: list[Helper], own: slice, parts: list[slice]):
        self._team = team  # which lives, and its helpers with it, until backward has come
        self.call, self.helpers, self.own, self.parts = call, list(helpers), own, parts
        weakref.finalize(self, _forget, call, self.helpers)


class Walk:
    """Backward has come: one walk through a shared call, and the helpers' answers to that.

    These live no longer than the walk.  If it is broken off, nobody waits for them any more.
    """

    def __init__(self, ticket: Ticket, retain_graph: bool):
        self._ticket, self._retain_graph = ticket, retain_graph
        self._answers: list[Answer] = []

    def ask(self, g) -> np.ndarray:
        """Give the helpers their parts of g; returns nothing, as an array."""
        ticket = self._ticket
        words = {"task": "backward", "call": ticket.call, "retain": self._retain_graph}
        for helper, part in zip(ticket.helpers, ticket.parts, strict=True):
            self._answers.append(helper.ask(words, [g[part]]))
        return np.zeros((), g.dtype)

    def of_parameter(self, place: int) -> np.ndarray | None:
        """Σ over the helpers of its gradient; None if it has none"""
        gradients = (answer.gradients for answer in self._answers)
        found = [part[place] for part in gradients if place in part]
        return sum(found[1:], found[0]) if found else None

    def of_input(self, place: int, shape: tuple[int, ...]) -> np.ndarray | None:
        """Its gradient, zeros for the images of our own share; None if it has none"""
        gradient = None
        for part, answer in zip(self._ticket.parts, self._answers, strict=True):
            found = answer.gradients.get(place)
            if found is not None:
                gradient = np.zeros(shape, found.dtype) if gradient is None else gradient
                gradient[part] = found
        return gradient


def _forget(call: int, helpers: list[Helper]) -> None:
    for helper in helpers:
        helper.forgotten.append(call)
