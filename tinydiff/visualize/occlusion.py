"""Occlusion: what does the network lose when a part of the picture is covered?

    drop of a pixel = mean of F(x) − F(x with a patch covered), over all patches that cover it

Source: M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
section 4.2.
"""

from __future__ import annotations

import numpy as np

from tinydiff.backend import asarray, to_numpy
from tinydiff.kernels.window import Pair, pair
from tinydiff.nn import Module, frozen
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor
from tinydiff.visualize.gradient import BATCH, input_of
from tinydiff.visualize.target import Objective


def occlusion(
    model: Module,
    images: np.ndarray,
    target: Objective,
    *,
    patch: Pair,
    stride: Pair = 1,
    fill: float = 0.0,
) -> np.ndarray:
    """How far the target drops where the picture is covered, (N, H, W), signed.

    patch, stride  pixels, vertical and horizontal; the stride is at most the patch, so that each
                   pixel is covered, and the last patches may be cut off by the picture's border
    fill           what covers, in [−1, 1]: 0 is grey
    """
    from tqdm import trange  # see tinydiff/training/progress.py

    x = input_of(model, images)
    patch, stride = pair(patch, "patch", 1), pair(stride, "stride", 1)
    if any(s > p for s, p in zip(stride, patch, strict=True)):
        raise ValueError(f"stride {stride}: expected at most the patch, {patch}")
    if not -1 <= fill <= 1:
        raise ValueError(f"fill is {fill}, expected a number in [−1, 1]")
    covered = [
        (slice(top, top + patch[0]), slice(left, left + patch[1]))
        for top in _starts(x.shape[1], patch[0], stride[0])
        for left in _starts(x.shape[2], patch[1], stride[1])
    ]
    drops, times = np.zeros(x.shape[:3], x.dtype), np.zeros(x.shape[1:3], x.dtype)
    whole = _numbers(model, x, target)
    together = max(1, BATCH // len(x))
    for first in trange(0, len(covered), together, desc="covering", delay=2, leave=False):
        some = covered[first : first + together]
        copies = np.repeat(x[None], len(some), axis=0)  # (patches, N, H, W, C)
        for copy, (rows, columns) in zip(copies, some, strict=True):
            copy[:, rows, columns] = fill
        numbers = _numbers(model, copies.reshape(-1, *x.shape[1:]), target).reshape(len(some), -1)
        for number, (rows, columns) in zip(numbers, some, strict=True):
            drops[:, rows, columns] += (whole - number)[:, None, None]
            times[rows, columns] += 1
    return drops / times


def _starts(side: int, patch: int, stride: int) -> range:
    """Where patches begin so that they cover 0 … side − 1."""
    return range(0, max(side - patch, 0) + stride, stride)


def _numbers(model: Module, x: np.ndarray, target: Objective) -> np.ndarray:
    with frozen(model), no_grad():
        return to_numpy(target(model, Tensor(asarray(x))).data)
