"""ReLU, y = max(x, 0), and three rules for the way back through it.

    plain       g·[x > 0]              the derivative
    deconvnet   g·[g > 0]              what ReLU itself would make of g: what speaks for the neuron
    guided      g·[x > 0]·[g > 0]      both

The last two are no derivatives of anything.  They are for looking at what a neuron responds to,
never for learning: see tinydiff/visualize.

Sources: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
section 2.1 (deconvnet); J. Springenberg et al., "Striving for Simplicity: The All Convolutional
Net", 2015, section 3.4 (guided).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tinydiff import kernels
from tinydiff.tensor import op

RULES: Mapping[str, Callable] = MappingProxyType(
    {
        "plain": lambda g, y: kernels.relu_grad(g, y),
        "deconvnet": lambda g, y: kernels.relu(g),
        "guided": lambda g, y: kernels.relu_grad(kernels.relu(g), y),
    }
)


class _Thread(threading.local):
    rule: relu_rule | None = None


_thread = _Thread()


class relu_rule:
    """``with relu_rule("guided"):`` inside, backward takes this way through every ReLU.

    It is what is current when backward walks the graph that counts, in this thread; with
    ``retain_graph`` one graph can be walked by all rules.  ``passed`` counts the ReLUs on the way.
    Raises ValueError for a name that is not in RULES.
    """

    def __init__(self, name: str):
        if name not in RULES:
            raise ValueError(f"rule: {name!r} is none of ReLU's: {', '.join(RULES)}")
        self.name, self.passed = name, 0

    def __enter__(self) -> relu_rule:
        self._before, _thread.rule = _thread.rule, self
        return self

    def __exit__(self, *exception) -> None:
        _thread.rule = self._before


def is_rule_set() -> bool:
    """Is this inside a `relu_rule`, in this thread?"""
    return _thread.rule is not None


@op
def relu(x, *, in_place=False):
    """max(x, 0)

    in_place  in x's own memory, for whoever knows that nobody else has a use for x
    """
    y = kernels.relu(x, x if in_place else None)
    return y, (lambda g: back_through_relu(g, y),)


def back_through_relu(g, y):
    """g on the other side of a ReLU that gave y, by the rule that is current"""
    rule = _thread.rule
    if rule is None:
        return RULES["plain"](g, y)
    rule.passed += 1
    return RULES[rule.name](g, y)
