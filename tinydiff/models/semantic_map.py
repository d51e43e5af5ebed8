"""Semantic maps for networks: which class is at each pixel, as numbers that a convolution can take.

    m_k(p) = 1 if the class at pixel p is k, and 0 otherwise: one channel a class

A convolution of these channels adds up, for each pixel it sees, the row of its weights that belongs
to the class there: a table of rows for each place of the window.  Where nothing is known, which is
what the number after the last class says, all channels are 0, and nothing is added.
"""

from __future__ import annotations

import numpy as np

from tinydiff import ops
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.tensor import Tensor


def one_hot(maps, classes: int, dtype=np.float32):
    """Maps (N, H, W) of 0 … classes → a backend array (N, H, W, classes) of zeros and ones"""
    return (asarray(maps)[..., None] == xp.arange(classes)).astype(dtype)


def class_means(x: Tensor, m) -> Tensor:
    """At each pixel the mean of x over all pixels of its class; 0 where that is not known

    x (N, H, W, C) and m (N, H, W, K), `one_hot` → (N, H, W, C).  In noise, a thing's colour is in
    no pixel, but in the mean of many; so what is far apart, and of one class, knows of each other.
    """
    n, _, _, c = x.shape
    m = m.reshape(n, -1, m.shape[3])
    share = m / xp.maximum(m.sum(axis=1, keepdims=True), 1)
    means = ops.matmul(Tensor(share.transpose(0, 2, 1)), x.reshape(n, -1, c))
    return ops.matmul(Tensor(m), means).reshape(x.shape)


def check_maps(owner: str, maps, shape: tuple[int, int, int], most: int) -> np.ndarray:
    """``maps`` on the host, which are integers 0 … ``most`` of shape (N, H, W) = ``shape``.

    Raises TypeError or ValueError, in the name of ``owner``, where something else comes.
    """
    maps = to_numpy(maps) if hasattr(maps, "dtype") else np.asarray(maps)
    if maps.dtype.kind not in "iu":
        raise TypeError(f"{owner}: expected maps of integers, got {maps.dtype}")
    if maps.shape != tuple(shape):
        raise ValueError(f"{owner}: expected maps of shape {tuple(shape)}, got {maps.shape}")
    if maps.size and not 0 <= maps.min() <= maps.max() <= most:
        raise ValueError(f"{owner}: expected 0 … {most} in maps, got {maps.min()} … {maps.max()}")
    return maps
