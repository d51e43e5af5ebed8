"""Arrays in PyTorch's memory layout and in ours; PyTorch itself is not needed.

    kind               ours, channels last        PyTorch's, channels first
    "image"            (N, H, W, C)               (N, C, H, W)
    "conv"             (kh, kw, C/groups, O)      (O, C/groups, kh, kw)
    "conv_transpose"   (kh, kw, C, O/groups)      (C, O/groups, kh, kw)
    "linear"           (in, out)                  (out, in)

A gradient has the layout of what it is the gradient of; vectors are the same on both sides.
"""

import numpy as np

from tinydiff import backend

_AXES = {
    "image": (0, 3, 1, 2),
    "conv": (3, 2, 0, 1),
    "conv_transpose": (2, 3, 0, 1),
    "linear": (1, 0),
}  # the axes of ours, in PyTorch's order


def to_torch(array, kind: str) -> np.ndarray:
    """An array of ours in PyTorch's layout: a contiguous copy."""
    return _permuted(array, kind, _axes(kind))


def from_torch(array, kind: str) -> np.ndarray:
    """An array of PyTorch's (its ``tensor.numpy()``) in our layout: a contiguous copy."""
    return _permuted(array, kind, np.argsort(_axes(kind)))


def _axes(kind: str) -> tuple[int, ...]:
    if kind not in _AXES:
        raise ValueError(f"interop: kind is {kind!r}, expected one of {', '.join(_AXES)}")
    return _AXES[kind]


def _permuted(array, kind: str, axes) -> np.ndarray:
    array = backend.to_numpy(array)
    if array.ndim != len(axes):
        raise ValueError(
            f"interop: shape {array.shape} has {array.ndim} axes, "
            f"{kind!r} has {len(axes)}; name another kind, or reshape"
        )
    return np.array(array.transpose(axes), order="C")
