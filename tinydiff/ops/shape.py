"""Moving values around without changing them: the derivative moves the gradient back."""

from collections.abc import Sequence

import numpy as np

from tinydiff.backend import xp
from tinydiff.tensor import Tensor, op


@op
def reshape(x, *, shape):
    """The same values in the same order under another shape; one entry may be −1."""
    return x.reshape(shape), (lambda g: g.reshape(x.shape),)


@op
def transpose(x, *, axes=None):
    """Axes in another order; without ``axes``, reversed."""
    axes = tuple(reversed(range(x.ndim))) if axes is None else tuple(axes)
    return x.transpose(axes), (lambda g: g.transpose(tuple(np.argsort(axes))),)


@op
def expand(x, *, shape):
    """x repeated along axes of length 1, or new leading ones, to a larger shape (a view)."""
    return xp.broadcast_to(x, shape), (lambda g: g,)


@op
def flip(x, *, axis):
    """The order along an axis, or several, reversed."""
    return xp.flip(x, axis), (lambda g: xp.flip(g, axis),)


@op
def _concat(*arrays, axis):
    ends = np.cumsum([a.shape[axis] for a in arrays])
    axis = axis % arrays[0].ndim

    def cut(i):
        start = int(ends[i - 1]) if i else 0
        part = (slice(None),) * axis + (slice(start, int(ends[i])),)
        return lambda g: g[part]

    return xp.concatenate(arrays, axis=axis), tuple(cut(i) for i in range(len(arrays)))


def concat(tensors: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Tensors one after another along an existing axis; all other lengths must agree."""
    tensors = list(tensors)
    if not tensors:
        raise ValueError("concat: needs at least one tensor")
    first = tensors[0].shape
    for i, t in enumerate(tensors):
        same = [a == b for a, b in zip(t.shape, first, strict=False)]
        if len(t.shape) != len(first) or not -len(first) <= axis < len(first):
            raise ValueError(f"concat: tensors[{i}] has shape {t.shape}, axis is {axis}")
        same[axis] = True
        if not all(same):
            raise ValueError(f"concat: tensors[{i}] has shape {t.shape}, tensors[0] {first}")
    return _concat(*tensors, axis=axis)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    tensors = list(tensors)
    if not tensors:
        raise ValueError("stack: needs at least one tensor")
    at = axis % (tensors[0].ndim + 1)
    lifted = (reshape(t, shape=(*t.shape[:at], 1, *t.shape[at:])) for t in tensors)
    return concat(lifted, axis=at)


def split(x: Tensor, sizes: int | Sequence[int], axis: int = -1) -> list[Tensor]:
    """Cut x along an axis into equal parts (an int: how many) or parts of the given sizes."""
    n = x.shape[axis]
    if isinstance(sizes, int):
        if sizes < 1 or n % sizes:
            raise ValueError(f"split: axis {axis} has length {n}, not divisible into {sizes}")
        sizes = [n // sizes] * sizes
    ends = np.cumsum(sizes).tolist()
    if not ends or ends[-1] != n:
        raise ValueError(f"split: sizes {list(sizes)} do not add up to {n}, the length of {axis}")
    before = (slice(None),) * (axis % x.ndim)
    starts = [0, *ends[:-1]]
    return [getitem(x, index=(*before, slice(a, b))) for a, b in zip(starts, ends, strict=True)]


@op
def getitem(x, *, index):
    """x[index] with NumPy's meaning; entries picked more than once add their gradients up."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = all(p is None or p is Ellipsis or isinstance(p, (int, slice)) for p in parts)

    def rule(g):
        full = xp.zeros(x.shape, g.dtype)
        if basic:
            full[index] = g
        else:
            xp.add.at(full, index, g)
        return full

    return x[index], (rule,)


@op
def take(x, *, index, axis):
    """x[…, index, …] along one axis, for a 1-D array of positions."""

    def rule(g):
        full = xp.zeros(x.shape, g.dtype)
        xp.add.at(xp.moveaxis(full, axis, 0), index, xp.moveaxis(g, axis, 0))
        return full

    return xp.take(x, index, axis=axis), (rule,)


@op
def gather(x, index, *, axis=-1):
    """y[…, k, …] = x[…, index[…, k, …], …] along one axis; other axes as in x."""
    axis = axis % x.ndim
    grids = xp.ogrid[tuple(slice(n) for n in index.shape)]
    where = tuple(index if i == axis else grid for i, grid in enumerate(grids))

    def rule(g):
        full = xp.zeros(x.shape, g.dtype)
        xp.add.at(full, where, g)
        return full

    return x[where], (rule, None)


def pad(x: Tensor, widths: Sequence[tuple[int, int]], mode: str = "constant", value=0.0) -> Tensor:
    """x with ``widths[axis] = (before, after)`` more entries at the ends of each axis.

    mode "constant" fills with ``value``, "reflect" mirrors without repeating the edge.
    """
    widths = tuple((int(a), int(b)) for a, b in widths)
    if len(widths) != x.ndim or any(w < 0 for pair in widths for w in pair):
        raise ValueError(f"pad: {widths} is not one (before, after) ≥ 0 per axis of {x.shape}")
    if mode == "constant":
        return _pad_constant(x, widths=widths, value=value)
    if mode != "reflect":
        raise ValueError(f"pad: mode is {mode!r}, expected 'constant' or 'reflect'")
    for axis, (pair, n) in enumerate(zip(widths, x.shape, strict=True)):
        if max(pair) >= n and max(pair) > 0:
            raise ValueError(f"pad: cannot reflect {max(pair)} of {n} entries (axis {axis})")
        if pair != (0, 0):
            x = take(x, index=xp.asarray(np.pad(np.arange(n), pair, mode="reflect")), axis=axis)
    return x


@op
def _pad_constant(x, *, widths, value):
    inner = tuple(slice(a, a + n) for (a, _), n in zip(widths, x.shape, strict=True))
    padded = xp.pad(x, widths, constant_values=value)
    return padded, (lambda g: g[inner],)
