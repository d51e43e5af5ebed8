"""The graph that tensors remember, and the walk back through it: reverse-mode differentiation.

An operation y = f(x₁ … xₖ) records its inputs and, for each, one rule that turns the gradient of
some scalar L with respect to y into that with respect to the input (a vector-Jacobian product):

    ∂L/∂xᵢ = rule_i(∂L/∂y)

The walk starts with ∂L/∂L = 1 and applies the rules from the newest operation to the oldest,
adding up where a tensor was used more than once.  An operation always comes after its inputs, so
the order of creation is a topological order: no recursion, however deep the graph.

Source: A. G. Baydin et al., "Automatic differentiation in machine learning: a survey", JMLR 2018.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator

from tinydiff import kernels
from tinydiff.backend import xp

births = itertools.count(1)


class Node:
    """A Tensor's place in the graph, without its array: what no rule needs is not kept.

    inputs   the nodes it was computed from that require grad
    rules    one for each of them; None once the graph has been freed; one function in the place of
             all where there is a graph inside, to be made when it is walked: of whether it is kept,
             it returns the nodes, oldest first (see tinydiff/recompute.py and tinydiff/team)
    leaf     for a Tensor that was not computed, a weak reference to it
    birth    when it was made; leaves come before everything
    """

    __slots__ = ("birth", "inputs", "leaf", "rules", "shape")

    def __init__(self, shape, inputs=(), rules=(), leaf=None):
        self.shape, self.inputs, self.rules, self.leaf = shape, inputs, rules, leaf
        self.birth = 0 if leaf else next(births)


def walk_back(
    output: Node, gradient, wanted: set[Node] | None, retain_graph: bool
) -> Iterator[tuple[Node, object]]:
    """Yield (node, gradient) for the wanted nodes, newest first (None: for all leaves).

    A leaf comes once for each use of it, with that use's share of its gradient, as soon as it is
    known: so nobody has to keep the gradients of all leaves until the walk has ended.

    gradient      ∂L/∂output, an array of its shape
    retain_graph  do not free the rules, and the arrays they keep, on the way
    """
    gradients, owned = {output: gradient}, set()
    order = ancestors(output)
    if wanted is None:
        wanted = {node for node in order if node.leaf}
    useful = set(wanted)  # what lies between output and the wanted
    _mark_useful(useful, order)
    while order:
        node = order.pop()
        if node not in useful or node not in gradients:
            continue
        gradient = gradients.pop(node)
        if node in wanted:
            yield node, gradient
        if not callable(node.rules):
            yield from _apply_rules(node, gradient, useful, gradients, owned)
        elif not useful.isdisjoint(node.inputs):
            # The graph inside is made now, and walked next: what it hangs on is older than node.
            older = len(order)
            order += node.rules(retain_graph)
            gradients[order[-1]] = gradient
            _mark_useful(useful, order[older:])
        useful.discard(node)  # a node that was made just now has nobody else to keep its rules
        owned.discard(node)
        if not retain_graph and not node.leaf:
            node.inputs, node.rules = (), None


def _mark_useful(useful: set[Node], nodes: list[Node]) -> None:
    """Add those of the nodes, which come oldest first, that something useful leads to."""
    for node in nodes:
        if not useful.isdisjoint(node.inputs):
            useful.add(node)


def _apply_rules(
    node: Node, gradient, useful: set, gradients: dict, owned: set
) -> Iterator[tuple[Node, object]]:
    """Yield node's share of its leaves' gradients, and add it to those of its other inputs.

    owned  those that were added up here
    """
    for source, rule in zip(node.inputs, node.rules, strict=True):
        if source not in useful:
            continue
        share = rule(gradient)
        if share is None:  # the rule found out that there is no way from one to the other
            continue
        share = _sum_to(share, source.shape)
        if source.leaf:
            yield source, share
        elif source not in gradients:
            gradients[source] = share
        elif source in owned:
            kernels.add(gradients[source], share, out=gradients[source])
        else:  # the array found there may be shared or read-only: never add in place to it
            gradients[source] = xp.asarray(kernels.add(gradients[source], share))
            owned.add(source)


def ancestors(output: Node, since: int = -1) -> list[Node]:
    """All nodes that lead to the output, oldest first, itself included.

    since: leave out, and do not look behind, those born at this moment or before
    """
    found, stack = {output}, [output]
    while stack:
        node = stack.pop()
        if node.rules is None:
            raise RuntimeError(
                "backward: this graph was walked before and its memory freed; "
                "pass retain_graph=True the first time to walk it again"
            )
        for source in node.inputs:
            if source not in found and source.birth > since:
                found.add(source)
                stack.append(source)
    return sorted(found, key=operator.attrgetter("birth"))


def made_since(moment: int, output: Node) -> tuple[list[Node], set[Node]]:
    """The output's graph: its nodes born since, oldest first, and the older ones they hang on."""
    made = ancestors(output, since=moment)
    return made, {source for node in made for source in node.inputs if source.birth < moment}


def _sum_to(gradient, shape: tuple[int, ...]):
    """Undo broadcasting: sum the gradient over the axes along which the input was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1))
    summed = gradient.sum(axis=axes, keepdims=True) if extra >= 0 else gradient
    if summed.shape[extra:] != shape:
        raise ValueError(
            f"a derivative rule returned shape {gradient.shape} for an input of shape {shape}"
        )
    return summed.reshape(shape)
