"""Tensor, an array that knows how it was computed, and op, which makes a function record it.

An op is a function on arrays that returns its value and the rules for going back through it
(vector-Jacobian products).  On Tensors it computes the value and, where an input requires a
gradient, leaves a node in the graph: see tinydiff/graph.py for that and the way back.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.graph import Node, walk_back
from tinydiff.recording import is_recording


class Tensor:
    """An array that knows how it was computed.

    data           the array, of the backend in use; Python floats become float32
    requires_grad  whether `backward` should compute a gradient for it (floating point only)
    grad           that gradient, an array of data's shape, or None; `backward` adds to it
    """

    __slots__ = ("__weakref__", "_home", "_node", "data", "grad", "requires_grad")
    __array_ufunc__ = None  # NumPy arrays on the left of an operator leave the work to Tensor

    def __init__(self, data, requires_grad: bool = False):
        if isinstance(data, Tensor):
            raise TypeError("Tensor: data is already a Tensor; use .detach() for a new leaf")
        self.data = backend.asarray(data)
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(
                f"Tensor: requires_grad needs floating-point data, got {self.data.dtype}"
            )
        self.requires_grad = requires_grad
        self.grad = self._home = None  # home: where an optimiser wants the gradient to be
        self._node = None

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)

    def __getstate__(self) -> tuple:
        """A copy is a leaf, whether made here or in another process."""
        return getattr(self, "__dict__", None), {
            "data": self.data,
            "grad": self.grad,
            "requires_grad": self.requires_grad,
            "_node": None,
            "_home": None,
        }

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype=None, copy=None):
        raise TypeError("a Tensor does not become a NumPy array unasked; use .numpy()")

    def __bool__(self) -> bool:
        return bool(self.data)

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({self.numpy()}{grad})"

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array on the host (on NumPy itself: not a copy)."""
        return backend.to_numpy(self.data)

    def item(self) -> float:
        """The value of a tensor with one element, as a Python number."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same data, cut off from the graph."""
        return Tensor(self.data)

    def backward(self, grad=None, *, retain_graph: bool = False) -> None:
        """Add ∂self/∂leaf to ``leaf.grad`` for every leaf that requires it.

        grad          ∂L/∂self, same shape as self; may be left out where self has one element
        retain_graph  keep the graph, so that it can be walked again
        """
        for node, gradient in walk_back(node_of(self), _seed(self, grad), None, retain_graph):
            tensor = node.leaf()
            if tensor is None:  # nobody could look at its gradient
                continue
            if gradient.shape != tensor.data.shape:
                raise ValueError(
                    f"backward: a leaf had shape {gradient.shape} when it was used, "
                    f"and has {tensor.data.shape} now"
                )
            if tensor.grad is not None:
                tensor.grad += gradient
            elif tensor._home is not None:
                if gradient is not tensor._home:  # where some have written it
                    tensor._home[...] = gradient
                tensor.grad = tensor._home
            else:
                # A rule may hand the same array to several tensors, or one that cannot be
                # written to; what the user gets is their own.
                tensor.grad = xp.array(gradient)


def node_of(tensor: Tensor) -> Node:
    """The tensor's place in the graph; a leaf gets one when first it is used, or used reshaped."""
    node = tensor._node
    if node is None or (node.leaf and node.shape != tensor.data.shape):
        node = tensor._node = Node(tensor.data.shape, leaf=weakref.ref(tensor))
    return node


def grad(output: Tensor, inputs: Tensor | Sequence[Tensor], *, grad=None, retain_graph=False):
    """∂output/∂input for any tensors of the graph, leaves or not; ``.grad`` is left alone.

    Returns one array (or a list, for a list of inputs), the caller's own; zeros where output does
    not depend on the input.  Only the part of the graph between output and inputs is visited.
    """
    single = isinstance(inputs, Tensor)
    wanted = [inputs] if single else list(inputs)
    for i, tensor in enumerate(wanted):
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            raise ValueError(f"grad: inputs[{i}] is not a Tensor that requires grad")
    nodes = [node_of(tensor) for tensor in wanted]
    found = {}
    for node, gradient in walk_back(node_of(output), _seed(output, grad), set(nodes), retain_graph):
        if node in found:
            found[node] += gradient
        else:
            found[node] = xp.array(gradient)
    gradients = [
        found[n] if n in found else xp.zeros_like(t.data)
        for n, t in zip(nodes, wanted, strict=True)
    ]
    return gradients[0] if single else gradients


def op(function: Callable) -> Callable:
    """Make a function on arrays, which returns (value, rules), one on Tensors, which returns value.

    Positional arguments are the arrays computed with, keyword-only ones settings.  ``rules`` holds
    one function of the output's gradient per positional argument, or None where there is no
    derivative.  Only rules that somebody needs are ever called.  A rule may return a gradient of
    the broadcast shape: it is summed back.  A rule may not write into the gradient it is given.
    Where the gradients share their work, ``rules`` is one function of a bool per argument, whether
    it needs one: it returns one of the output's gradient, which returns them all (None where not
    needed), and may keep only what those need.

    All arrays come in one floating dtype: constants, integers and NumPy scalars take that of the
    Tensors beside them.  Where there are only integers and the value is not one, it is float32.
    """
    signature = inspect.signature(function)
    names = {p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD}
    defaults = function.__defaults__ or ()

    @functools.wraps(function)
    def apply(*inputs, **settings):
        if settings:
            inputs, settings = _sort_out(signature, names, inputs, settings)
        left_out = len(names) - len(inputs)
        if 0 < left_out <= len(defaults):
            inputs += defaults[-left_out:]
        arrays, dtype, needed = _unwrap(function.__name__, inputs)
        value, rules = function(*arrays, **settings)
        if not isinstance(value, xp.ndarray):
            value = xp.asarray(value)
        if dtype is None and value.dtype.kind == "f":
            # NumPy would answer integers with float64, or float16 if they are short.
            floats = [a if a is None else a.astype(np.float32) for a in arrays]
            return apply(*floats, **settings)
        output = Tensor.__new__(Tensor)
        output.data = value
        output.grad = output._home = None
        output.requires_grad = False
        output._node = None
        if needed and is_recording():
            if callable(rules):
                rules = _one_each(rules, inputs)
            edges = [
                (node_of(t), rule)
                for t, rule in zip(inputs, rules, strict=True)
                if rule is not None and isinstance(t, Tensor) and t.requires_grad
            ]
            if edges:
                output.requires_grad = True
                output._node = Node(value.shape, *zip(*edges, strict=True))
        return output

    apply.is_op = True
    return apply


def _one_each(rules: Callable, inputs: tuple) -> list[Callable]:
    """One rule for all inputs, as a rule for each that works them all out the first time."""
    needed = tuple(isinstance(t, Tensor) and t.requires_grad for t in inputs)
    gradients = once(rules(needed))
    return [lambda g, i=i: gradients(g)[i] for i in range(len(inputs))]


def once(function: Callable) -> Callable:
    """Remember the last result: for rules that share their work on the same gradient."""
    memory = [None, None]

    def remembered(g):
        if memory[0] is not g:
            memory[:] = g, function(g)
        return memory[1]

    return remembered


def _sort_out(signature, names: set[str], inputs: tuple, settings: dict) -> tuple[tuple, dict]:
    """Arrays that were given by name take their place; settings become Python's own numbers."""
    if not names.isdisjoint(settings):
        bound = signature.bind(*inputs, **settings)
        bound.apply_defaults()
        inputs, settings = bound.args, bound.kwargs
    for name, value in settings.items():
        if isinstance(value, np.generic):  # np.float64(0.5) · float32 would be float64
            settings = {**settings, name: value.item()}
    return inputs, settings


def _unwrap(name: str, inputs: tuple) -> tuple[list, object, bool]:
    """The inputs as arrays of one floating dtype, that dtype, and whether a gradient is needed."""
    arrays, dtype, needed, ready = [], None, False, True
    for x in inputs:
        if isinstance(x, Tensor):
            data = x.data
            needed = needed or x.requires_grad
            if data.dtype is not dtype:
                if data.dtype.kind != "f":
                    ready = False
                elif dtype is None:
                    dtype = data.dtype
                elif data.dtype != dtype:
                    raise TypeError(
                        f"{name.lstrip('_')}: inputs are {dtype} and {data.dtype}; "
                        "convert one with .astype"
                    )
            arrays.append(data)
        else:
            arrays.append(x)
            ready = ready and (x is None or type(x) is float or type(x) is int)
    if dtype is None:  # no floating Tensor: the constants decide
        arrays = [a if a is None else backend.asarray(a) for a in arrays]
        floats = [a.dtype for a in arrays if a is not None and a.dtype.kind == "f"]
        dtype = np.result_type(*floats) if floats else None
        ready = not floats
    if not ready:
        arrays = [_operand(a, dtype) for a in arrays]
    return arrays, dtype, needed


def _operand(a, dtype):
    """2 · float32 is float32, whoever wrote the 2: a list, an int64 array, np.float64(2)."""
    if isinstance(a, np.generic):
        return a.item()
    if a is None or isinstance(a, (bool, int, float)):
        return a
    return _astype(backend.asarray(a), dtype)


def _astype(a, dtype):
    """Numbers converted; booleans and nothing stay what they are."""
    return a if a is None or a.dtype.kind == "b" or a.dtype == dtype else a.astype(dtype)


def _seed(output: Tensor, seed):
    if not output.requires_grad:
        raise ValueError("backward: the output does not depend on any tensor that requires grad")
    if seed is None:
        if output.size != 1:
            raise ValueError(
                f"backward: the output has shape {output.shape}, not one element; "
                "pass its gradient, or reduce it with .sum() or .mean()"
            )
        return xp.ones_like(output.data)
    seed = backend.asarray(seed.data if isinstance(seed, Tensor) else seed, output.dtype)
    if seed.shape != output.shape:
        raise ValueError(f"backward: grad has shape {seed.shape}, the output {output.shape}")
    return seed[...]  # a new object: `once` would take the caller's, changed since, for the old one
