"""All parameters in one flat buffer, all gradients in a second.

A network has hundreds of parameters, most of them small.  Laid end to end, an optimiser's step is
a handful of long vector operations.  Each parameter's ``data`` becomes a view of its stretch of
the first buffer, its ``grad`` of the second: `Tensor.backward` writes it there and adds in place.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from tinydiff.backend import xp
from tinydiff.tensor import Tensor, node_of


class Flat:
    """Made by `flatten`.

    parameters  the tensors, in order
    data, grad  (n,) arrays of their dtype that hold the tensors' values and gradients
    """

    def __init__(self, parameters: list[Tensor]):
        self.parameters = parameters
        n = sum(p.size for p in parameters)
        self.data = xp.zeros(n, parameters[0].dtype)
        self.grad = xp.zeros(n, self.data.dtype)  # not zeros_like, which writes its zeros
        self._views = list(zip(self.split(self.data), self.split(self.grad), strict=True))
        for p, (_, grad) in zip(parameters, self._views, strict=True):
            p._home = grad
            if p.grad is None:
                p.grad = grad
        self.gather()

    def __reduce__(self):
        """A copy is laid out anew: views that were copied one by one would be views no more."""
        return _laid_out, (self.parameters,)

    def move(self, data) -> None:
        """Keep the values in another array (n,) from now on."""
        self.data = data
        self._views = [
            (v, grad) for v, (_, grad) in zip(self.split(data), self._views, strict=True)
        ]
        self._gather_values()

    def split(self, array) -> list:
        """A flat array (n,), as one view for each parameter, of its shape."""
        views, start = [], 0
        for p in self.parameters:
            views.append(array[start : start + p.size].reshape(p.shape))
            start += p.size
        return views

    def gather(self) -> None:
        """Make sure the parameters live here: what was put elsewhere since is brought home."""
        self._gather_values()
        for p, (_, grad) in zip(self.parameters, self._views, strict=True):
            if p.grad is not grad:
                grad[...] = 0 if p.grad is None else p.grad
                p.grad = grad

    def _gather_values(self) -> None:
        for p, (data, _) in zip(self.parameters, self._views, strict=True):
            if p.data is not data:
                data[...] = p.data
                p.data = data


_in_use: weakref.WeakSet[Flat] = weakref.WeakSet()


def flats_of(parameters: Iterable[Tensor]) -> list[Flat]:
    """Those in which any of the parameters live"""
    parameters = set(parameters)
    return [flat for flat in _in_use if not parameters.isdisjoint(flat.parameters)]


def flatten(parameters: Iterable[Tensor]) -> Flat:
    """The `Flat` of those parameters that require grad: where they live already, or a new one.

    Raises ValueError if there are none, one comes twice, or one is not a leaf (was computed);
    TypeError if one is not a Tensor, or they differ in dtype.
    """
    if isinstance(parameters, Tensor):
        raise TypeError("parameters is one Tensor, expected an iterable of them: [x]")
    parameters = list(parameters)
    for i, p in enumerate(parameters):
        if not isinstance(p, Tensor):
            raise TypeError(f"parameters[{i}] is a {type(p).__name__}, expected a Tensor")
        if not node_of(p).leaf:
            raise ValueError(
                f"parameters[{i}] was computed from others; only leaves can be learned"
            )
    parameters = [p for p in parameters if p.requires_grad]
    if not parameters:
        raise ValueError("parameters: none of them requires grad, there is nothing to learn")
    if len(set(parameters)) < len(parameters):
        raise ValueError("parameters: the same tensor comes twice")
    if len({p.dtype for p in parameters}) > 1:
        dtypes = sorted({str(p.dtype) for p in parameters})
        raise TypeError(f"parameters are {' and '.join(dtypes)}, expected one dtype")
    for flat in _in_use:
        if len(flat.parameters) == len(parameters) and set(flat.parameters) == set(parameters):
            return flat
    return _laid_out(parameters)


def _laid_out(parameters: list[Tensor]) -> Flat:
    flat = Flat(parameters)
    _in_use.add(flat)
    return flat
