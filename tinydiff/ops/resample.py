"""Changing the resolution of images (N, H, W, C)."""

import numpy as np

from tinydiff import kernels
from tinydiff.backend import xp
from tinydiff.kernels.window import pair
from tinydiff.ops import checks
from tinydiff.ops.shape import reshape, transpose
from tinydiff.tensor import Tensor, op


@op
def upsample_nearest2d(x, *, scale=2):
    """Every pixel becomes scale × scale equal ones: (N, H, W, C) → (N, H·scale, W·scale, C)"""
    _check("upsample_nearest2d", x, "scale", scale)
    n, h, w, c = x.shape
    blocks = xp.broadcast_to(x[:, :, None, :, None, :], (n, h, scale, w, scale, c))
    return blocks.reshape(n, h * scale, w * scale, c), (lambda g: kernels.sum_blocks(g, scale),)


@op
def resize_bilinear2d(x, *, size):
    """Bilinear interpolation to size (H', W'), pixel centres at (i + ½)·H/H' − ½.

    Linear along each axis: y = A x Bᵀ with one small matrix per axis, so the gradient is Aᵀ g B.
    The same as PyTorch's interpolate(mode="bilinear", align_corners=False).
    """
    checks.image("resize_bilinear2d", x)
    size = pair(size, "resize_bilinear2d: size", 1)
    rows, columns = (
        xp.asarray(interpolation((np.arange(m) + 0.5) * (n / m), n), dtype=x.dtype)
        for n, m in zip(x.shape[1:3], size, strict=True)
    )
    return both_axes(x, rows, columns), (lambda g: both_axes(g, rows.T, columns.T),)


def upsample_bilinear2d(x: Tensor, *, scale: int = 2) -> Tensor:
    """`resize_bilinear2d` to scale times the height and width."""
    _check("upsample_bilinear2d", x, "scale", scale)
    return resize_bilinear2d(x, size=(x.shape[1] * scale, x.shape[2] * scale))


def interpolation(places: np.ndarray, n: int) -> np.ndarray:
    """The (m, n) matrix that takes n pixels, centred at ½, 1½, …, to their values at m places.

    Linear between the two nearest centres; outside of the outermost, those go on.
    """
    centre = np.clip(places - 0.5, 0, n - 1)
    left = np.minimum(centre.astype(int), max(n - 2, 0))
    weight = centre - left
    matrix = np.zeros((len(places), n))
    matrix[np.arange(len(places)), left] = 1 - weight
    matrix[np.arange(len(places)), np.minimum(left + 1, n - 1)] += weight
    return matrix


def both_axes(x, rows, columns):
    n, h, w, c = x.shape
    y = (rows @ x.reshape(n, h, w * c)).reshape(n, len(rows), w, c)
    return columns @ y


def pixel_unshuffle(x: Tensor, *, factor: int) -> Tensor:
    """Blocks of pixels to channels: (N, H·r, W·r, C) → (N, H, W, C·r²), channels ordered (C, r, r)

    Source: W. Shi et al., "Real-time single image … super-resolution …", CVPR 2016.
    """
    _check("pixel_unshuffle", x, "factor", factor)
    n, h, w, c = x.shape
    if h % factor or w % factor:
        raise ValueError(f"pixel_unshuffle: factor {factor} does not divide the image {h} × {w}")
    h, w = h // factor, w // factor
    blocks = reshape(x, shape=(n, h, factor, w, factor, c))
    return reshape(transpose(blocks, axes=(0, 1, 3, 5, 2, 4)), shape=(n, h, w, c * factor**2))


def pixel_shuffle(x: Tensor, *, factor: int) -> Tensor:
    """The inverse of `pixel_unshuffle`: (N, H, W, C·r²) → (N, H·r, W·r, C)"""
    _check("pixel_shuffle", x, "factor", factor)
    n, h, w, c = x.shape
    if c % factor**2:
        raise ValueError(f"pixel_shuffle: {c} channels are not a multiple of {factor}²")
    c //= factor**2
    blocks = reshape(x, shape=(n, h, w, c, factor, factor))
    return reshape(transpose(blocks, axes=(0, 1, 4, 2, 5, 3)), shape=(n, h * factor, w * factor, c))


def _check(name, x, setting, value):
    checks.image(name, x)
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {setting} is {value!r}, expected an int ≥ 1")
