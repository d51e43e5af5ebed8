"""Moving values around without changing them: the derivative moves the gradient back."""

import operator
from collections.abc import Sequence
from numbers import Integral

import numpy as np

from tinydiff import backend, kernels
from tinydiff.backend import xp
from tinydiff.ops import checks
from tinydiff.tensor import Tensor, op


@op
def reshape(x, *, shape):
    """The same values in the same order under another shape; one entry may be −1."""
    try:
        y = x.reshape(shape)
    except (ValueError, TypeError):
        raise ValueError(f"reshape: {x.shape} does not go into shape {shape}") from None
    return y, (lambda g: g.reshape(x.shape),)


@op
def transpose(x, *, axes=None):
    """Axes in another order; without ``axes``, reversed."""
    if axes is None:
        return x.T, (lambda g: g.T,)
    axes = tuple(axes)
    if len(checks.axes("transpose", axes, x.ndim)) != x.ndim:
        raise ValueError(f"transpose: axes {axes} do not name all {x.ndim} axes of {x.shape}")
    back = sorted(range(x.ndim), key=lambda i: axes[i] % x.ndim)
    return x.transpose(axes), (lambda g: g.transpose(back),)


@op
def expand(x, *, shape):
    """x repeated along axes of length 1, or new leading ones, to a larger shape (a view)."""
    try:
        y = xp.broadcast_to(x, shape)
    except (ValueError, TypeError):
        raise ValueError(f"expand: {x.shape} cannot be repeated to shape {shape}") from None
    return y, (lambda g: g,)


@op
def flip(x, *, axis):
    """The order along an axis, or several, reversed."""
    axis = checks.axes("flip", axis, x.ndim)
    return xp.flip(x, axis), (lambda g: xp.flip(g, axis),)


@op
def _concat(*arrays, axis):
    ends = np.cumsum([a.shape[axis] for a in arrays]).tolist()

    def cut(start, end):
        part = (slice(None),) * axis + (slice(start, end),)
        return lambda g: g[part]

    return kernels.concatenate(arrays, axis), tuple(map(cut, [0, *ends], ends))


def concat(tensors: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Tensors one after another along an existing axis; all other lengths must agree."""
    tensors = list(tensors)
    at = checks.one_axis("concat", axis, tensors[0].ndim) if tensors else 0
    _check_alike("concat", tensors, but=at)
    return _concat(*tensors, axis=at)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    tensors = list(tensors)
    _check_alike("stack", tensors)
    at = checks.one_axis("stack", axis, tensors[0].ndim + 1)
    lifted = [reshape(t, shape=(*t.shape[:at], 1, *t.shape[at:])) for t in tensors]
    return concat(lifted, axis=at)


def _check_alike(name: str, tensors: list, but: int | None = None) -> None:
    """Have they the same shape, but for the length of one axis?"""
    if not tensors:
        raise ValueError(f"{name}: needs at least one tensor")
    for i, t in enumerate(tensors):
        lengths = zip(t.shape, tensors[0].shape, strict=False)
        if t.ndim != tensors[0].ndim or any(
            m != n and j != but for j, (m, n) in enumerate(lengths)
        ):
            raise ValueError(
                f"{name}: tensors[{i}] has shape {t.shape}, tensors[0] {tensors[0].shape}"
            )


def split(x: Tensor, sizes: int | Sequence[int], axis: int = -1) -> list[Tensor]:
    """Cut x along an axis into equal parts (an int: how many) or parts of the given sizes."""
    at = checks.one_axis("split", axis, x.ndim)
    n = x.shape[at]
    if isinstance(sizes, int):
        if sizes < 1 or n % sizes:
            raise ValueError(f"split: axis {axis} has length {n}, not divisible into {sizes}")
        sizes = [n // sizes] * sizes
    ends = np.cumsum(sizes).tolist()
    if not ends or ends[-1] != n or min(sizes) < 0:
        raise ValueError(f"split: sizes {list(sizes)} do not add up to {n}, the length of {axis}")
    before = (slice(None),) * at
    starts = [0, *ends[:-1]]
    return [getitem(x, index=(*before, slice(a, b))) for a, b in zip(starts, ends, strict=True)]


@op
def getitem(x, *, index):
    """x[index] with NumPy's meaning; entries picked more than once add their gradients up.

    index: ints, slices, None, …, and arrays, lists or Tensors of integers or booleans.
    """
    parts = tuple(map(_position, index if isinstance(index, tuple) else (index,)))
    picks = any(isinstance(p, xp.ndarray) for p in parts)

    def rule(g):
        full = xp.zeros(x.shape, g.dtype)
        if picks:
            xp.add.at(full, parts, g)
        else:
            full[parts] = g
        return full

    return x[parts], (rule,)


def _position(part):
    """An index along one axis: arrays, in whatever form they come, on the backend's device."""
    part = part.data if isinstance(part, Tensor) else part
    if part is None or part is Ellipsis or isinstance(part, (bool, slice)):
        return part
    if isinstance(part, Integral):
        return int(part)
    nothing = isinstance(part, list) and not part  # which NumPy takes for floats
    return xp.asarray(part, dtype=np.intp if nothing else None)


@op
def take(x, *, index, axis):
    """x[…, index, …] along one axis, for a 1-D array of positions."""
    axis = checks.one_axis("take", axis, x.ndim)
    index = checks.integers(index)
    checks.positions("take", index, -x.shape[axis], x.shape[axis] - 1)
    index = backend.asarray(index)
    if index.ndim != 1:
        raise ValueError(f"take: index has shape {index.shape}, expected one axis")

    def rule(g):
        full = xp.zeros(x.shape, g.dtype)
        xp.add.at(xp.moveaxis(full, axis, 0), index, xp.moveaxis(g, axis, 0))
        return full

    return xp.take(x, index, axis=axis), (rule,)


def gather(x: Tensor, index, *, axis: int = -1) -> Tensor:
    """y[…, k, …] = x[…, index[…, k, …], …] along one axis; index has as many axes as x."""
    index = checks.integers(index)
    axis = checks.one_axis("gather", axis, x.ndim)
    checks.positions("gather", index, -x.shape[axis], x.shape[axis] - 1)
    index = backend.asarray(index)
    if index.ndim != x.ndim or any(
        m > n for i, (m, n) in enumerate(zip(index.shape, x.shape, strict=True)) if i != axis
    ):
        raise ValueError(
            f"gather: index {index.shape} and x {x.shape} must have the same axes, "
            f"and index no more entries than x except along axis {axis}"
        )
    grids = xp.ogrid[tuple(slice(n) for n in index.shape)]
    where = tuple(index if i == axis else grid for i, grid in enumerate(grids))
    return getitem(x, index=where)


def pad(x: Tensor, widths: Sequence[tuple[int, int]], mode: str = "constant", value=0.0) -> Tensor:
    """x with ``widths[axis] = (before, after)`` more entries at the ends of each axis.

    mode "constant" fills with ``value``, "reflect" mirrors without repeating the edge.
    """
    try:
        widths = tuple((operator.index(a), operator.index(b)) for a, b in widths)
    except (TypeError, ValueError):
        raise ValueError(f"pad: widths {widths!r} are not pairs of whole numbers") from None
    if len(widths) != x.ndim or any(w < 0 for pair in widths for w in pair):
        raise ValueError(
            f"pad: widths {widths} are not one (before, after) ≥ 0 per axis of {x.shape}"
        )
    if mode == "constant":
        return _pad_constant(x, widths=widths, value=value)
    if mode != "reflect":
        raise ValueError(f"pad: mode is {mode!r}, expected 'constant' or 'reflect'")
    for axis, (pair, n) in enumerate(zip(widths, x.shape, strict=True)):
        if max(pair) >= n and max(pair) > 0:
            raise ValueError(f"pad: cannot reflect {max(pair)} of {n} entries (axis {axis})")
        if pair != (0, 0):
            x = take(x, index=np.pad(np.arange(n), pair, mode="reflect"), axis=axis)
    return x


@op
def _pad_constant(x, *, widths, value):
    inner = tuple(slice(a, a + n) for (a, _), n in zip(widths, x.shape, strict=True))
    padded = xp.pad(x, widths, constant_values=value)
    return padded, (lambda g: g[inner],)
