"""What a shared call leaves in the graph: the right to ask the helpers for their gradients."""

from __future__ import annotations

import weakref

import numpy as np

from tinydiff import graph
from tinydiff.team.helper import Answer, Helper
from tinydiff.tensor import Tensor


class Ticket:
    """A shared call that backward may come for, and the helpers' answers to that."""

    def __init__(self, team, call: int, helpers: list[Helper], parts: list[slice]):
        self._team = team  # which lives, and its helpers with it, until backward has come
        self._call, self._helpers, self._parts = call, list(helpers), parts
        self._answers: list[Answer] = []
        weakref.finalize(self, _forget, call, self._helpers)

    def send(self, g):
        """Give the helpers their parts of g, and return it."""
        words = {"task": "backward", "call": self._call, "retain": graph.retaining}
        self._answers = [
            helper.ask(words, [g[part]])
            for helper, part in zip(self._helpers, self._parts, strict=True)
        ]
        return g

    def of_parameter(self, i: int):
        """Σ over the helpers of the i-th parameter's gradient; None if it has none"""
        gradients = (answer.fetch()[1] for answer in self._answers)
        found = [part[i] for part in gradients if i in part]
        return sum(found[1:], found[0]) if found else None

    def of_input(self, i: int, x: Tensor):
        """The gradient of the i-th input that has one; zeros for the images of our own share"""
        gradient = np.zeros_like(x.data)
        for part, answer in zip(self._parts, self._answers, strict=True):
            gradient[part] = answer.fetch()[0][i]
        return gradient


def _forget(call: int, helpers: list[Helper]) -> None:
    for helper in helpers:
        helper.forgotten.append(call)
