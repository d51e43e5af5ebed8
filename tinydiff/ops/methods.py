"""Tensor's operators and methods: a table from Python's names to the ops."""

import numpy as np

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.ops import arithmetic, product, reduction, shape
from tinydiff.tensor import Tensor


def _reverse(function):
    return lambda self, other: function(other, self)


for _name, _function in {
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "mul": arithmetic.mul,
    "truediv": arithmetic.div,
    "pow": arithmetic.power,
    "matmul": product.matmul,
}.items():
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reverse(_function))

for _name in ("exp", "log", "sqrt", "abs", "clip"):
    setattr(Tensor, _name, getattr(arithmetic, _name))
for _name in ("sum", "mean", "var", "max", "min"):
    setattr(Tensor, _name, getattr(reduction, _name))


def _dims(given: tuple) -> tuple:
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _compare(function):
    def compare(self, other):
        if isinstance(other, (Tensor, np.ndarray)):
            other = backend.asarray(other.data if isinstance(other, Tensor) else other)
        return Tensor(function(self.data, other))

    return compare


Tensor.__neg__ = arithmetic.neg
Tensor.__abs__ = arithmetic.abs
Tensor.__getitem__ = lambda self, index: shape.getitem(self, index=index)
Tensor.reshape = lambda self, *dims: shape.reshape(self, shape=_dims(dims))
Tensor.transpose = lambda self, *axes: shape.transpose(self, axes=_dims(axes) if axes else None)
Tensor.T = property(lambda self: shape.transpose(self))
Tensor.astype = lambda self, dtype: arithmetic.astype(self, dtype=dtype)
# Comparisons give boolean Tensors, which have no derivative.  Equality is left to identity, so
# that Tensors can be keys; compare values with ops on .data.
Tensor.__lt__ = _compare(xp.less)
Tensor.__le__ = _compare(xp.less_equal)
Tensor.__gt__ = _compare(xp.greater)
Tensor.__ge__ = _compare(xp.greater_equal)
