"""3×3 convolution of stride 1 with 4× fewer multiplications: Winograd's F(4×4, 3×3) on NumPy.

The equations are in `winograd_matrices`; how they become products that BLAS is good at is here.

Points come in pairs ±p, whose rows of Bᵀ, and of A, differ only in the sign of every second entry:
they give e ± o, with e of the even inputs and o of the odd ones.  So along the rows Bᵀ is two
products of half the size, then a sum and a difference; Aᵀ is the same from right to left.  A tile
is flattened, rows first, so that the transform along the columns is part of the same product (a
Kronecker product of matrices).

A bias is one more term of every output: each half of Aᵀ gets a column of ones, for a plane that
holds the bias.  The transforms go in stretches of columns, so that BLAS does not copy them first
(see `fast.SMALL`).
"""

import numpy as np

from tinydiff.kernels.fast import SMALL, sum_pixels
from tinydiff.kernels.frame import framed
from tinydiff.kernels.pixels import move
from tinydiff.kernels.window import Window
from tinydiff.kernels.winograd_matrices import BT, A, G
from tinydiff.kernels.workers import empty, parallel, parallel_sum, scratch


def _in_halves(matrix):
    """(2, 18, ·): what takes a flattened tile, even rows before odd ones, to [e_a e_b e_0 | …]

    ``matrix`` (6, inputs) evaluates at the points, along rows and along columns.  Along rows, its
    even half has e_a, e_b and the value at 0, its odd half a·o_a, b·o_b and the value at ∞.
    """
    minus, plus = matrix[1:3], matrix[4:6]
    even = np.vstack([(plus + minus) / 2, matrix[0]])[:, 0::2]
    odd = np.vstack([(plus - minus) / 2, matrix[3]])[:, 1::2]
    return np.stack([np.kron(half, matrix) for half in (even, odd)]).astype(np.float32)


_INPUT = _in_halves(BT)  # (2, 18, 18): a 6×6 tile
_BLOCK = _in_halves(A)  # (2, 18, 8): a 4×4 block
_OUTPUT = np.ascontiguousarray(_BLOCK.swapaxes(1, 2))  # and its transpose
# With the bias, which is one more term of every output, before the even half and after the odd one.
_OUTPUT_AND_BIAS = np.stack([np.insert(_OUTPUT[0], 0, 1, 1), np.insert(_OUTPUT[1], 18, 1, 1)])
_FILTER = np.kron(G, G).astype(np.float32)  # (36, 9)
TURNED_T = np.ascontiguousarray(_FILTER.T[::-1])  # back to taps, in the order of the turned kernel

# Rows of an array (8·6, ·) before and after the sum and difference of the halves, six at a point:
# e_a e_b e_0 o_a o_b o_∞ -  -   →   -  -  0 −a −b ∞ a b
_EVEN, _ODD, _PLUS, _POINTS_ONLY = (
    slice(6 * i, 6 * j) for i, j in ((0, 2), (3, 5), (6, 8), (2, 8))
)

_CACHE = 300_000  # elements of one transformed array that a worker keeps in its cache
_ENOUGH = 48  # tiles that make the 36 products efficient
_STRETCH = 1 << 11  # columns that BLAS multiplies by a small matrix without copying them first


def transform(matrix, x, out) -> None:
    """out = matrix @ x for a small matrix: (…, m, k) and (…, k, many) → (…, m, many)"""
    n = x.shape[-1]
    whole = n - n % _STRETCH
    if whole:
        parts, into = (_in_stretches(a[..., :whole]) for a in (x, out))
        np.matmul(matrix[..., None, :, :], parts, out=into)
    if whole < n:
        np.matmul(matrix, x[..., whole:], out=out[..., whole:])


def _in_stretches(a):
    """(…, k, n) as (…, stretches, k, _STRETCH)"""
    return a.reshape(*a.shape[:-1], -1, _STRETCH).swapaxes(-2, -3)


def _shared_transform(matrix, x, out) -> None:
    """`transform`, shared out over the columns of x"""

    def work(low, high, _):
        transform(matrix, x[:, low:high], out[:, low:high])

    parallel(work, x.shape[1], x.shape[1], x.size + out.size)


def suits(channels: int, filters: int, window: Window) -> bool:
    """3×3, stride 1, enough channels to pay for the transforms, little waste at the border."""
    return (
        window.kernel == (3, 3)
        and window.stride == (1, 1)
        and window.dilation == (1, 1)
        and window.groups == 1
        and min(channels, filters) >= 16
        and all(
            16 * tiles_in(size) <= 1.8 * size[0] * size[1] for size in (window.image, window.out)
        )
    )


def conv2d(x, weight, bias, window: Window):
    """`plain.conv2d`"""
    x = np.ascontiguousarray(x)
    y = empty(len(x), *window.out, weight.shape[3])
    filters = filters_at_points(weight, _shared_transform)

    def work(low, high, _):
        correlate(tiles_at_points(x[low:high], window), filters, y[low:high], bias)

    chunk = _images_at_a_time(len(x), window.out, *weight.shape[2:])
    parallel(work, len(x), chunk, 4 * (x.size + y.size))
    return y


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`"""
    return conv2d(g, turned(weight), None, window.backwards)


def conv2d_weight_grad(x, g, window: Window):
    """`plain.conv2d_weight_grad`"""
    return conv2d_grads(x, g, None, window)[1]


def conv2d_grads(x, g, weight, window: Window):
    """`plain.conv2d_grads`; without a weight the input gradient is None"""
    x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    channels, filters = x.shape[3], g.shape[3]
    back = window.backwards
    gx = None if weight is None else empty(*x.shape)
    opposite = None if weight is None else filters_at_points(turned(weight), _shared_transform)

    of_images = np.empty((len(g), filters), np.float32)

    def work(low, high, out):
        of_images[low:high] = sum_pixels(g[low:high])  # which leaves g in the cache
        seen = tiles_at_points(g[low:high], back)
        if weight is not None:
            correlate(seen, opposite, gx[low:high], None)
        np.matmul(blocks_at_points(x[low:high]).swapaxes(1, 2), seen, out=out)

    chunk = _images_at_a_time(len(x), window.image, channels, filters)
    total = parallel_sum(work, len(x), chunk, 4 * (x.size + g.size), (36, channels, filters))
    gw = np.empty((3, 3, channels, filters), np.float32)
    _shared_transform(TURNED_T, total.reshape(36, -1), gw.reshape(9, -1))
    return gx, gw, of_images.sum(axis=0)


def turned(weight):
    """The kernel turned by 180°, input and output channels swapped"""
    return weight[::-1, ::-1].swapaxes(2, 3)


def tiles_at_points(x, window: Window):
    """Bᵀ x B of the tiles that the outputs see: (36, tiles, C), in scratch"""
    return _at_points(_INPUT, _tiles_of(x, window), "tiles at points")


def blocks_at_points(x):
    """A x Aᵀ of the 4×4 blocks: (36, tiles, C), in scratch that `correlate` also uses"""
    return _at_points(_BLOCK, _blocks_of(x), "product")


def filters_at_points(weight, product=transform):
    """G w Gᵀ of filters (3, 3, C, O): (36, C, O), in scratch"""
    taps = scratch("taps", *weight.shape)
    np.copyto(taps, weight)
    values = scratch("filters", 36, *weight.shape[2:])
    product(_FILTER, taps.reshape(9, -1), values.reshape(36, -1))
    return values


def _at_points(matrix, parts, name: str):
    """Flattened tiles (2, ·, tiles, C), even rows before odd ones, at the points: (36, tiles, C)"""
    values = scratch(name, 48, *parts.shape[2:])
    transform(matrix, parts.reshape(*parts.shape[:2], -1), values[:36].reshape(2, 18, -1))
    np.add(values[_EVEN], values[_ODD], out=values[_PLUS])
    np.subtract(values[_EVEN], values[_ODD], out=values[_ODD])
    return values[_POINTS_ONLY]


def correlate(seen, filters, y, bias):
    """y (n, H, W, O) from its tiles at the points (36, tiles, C) and filters (36, C, O)"""
    n, h, w, c = y.shape
    down, right = _tiles(h), _tiles(w)
    # The bias, the even half (18), the odd half (18), the bias, over what is no longer needed (12).
    planes = scratch("product", 49, n * down * right, c)
    values = planes[1:49]
    np.matmul(seen, filters, out=values[_POINTS_ONLY])
    np.add(values[_PLUS], values[_ODD], out=values[_EVEN])
    np.subtract(values[_PLUS], values[_ODD], out=values[_ODD])
    blocks = scratch("blocks", 2, 2, 4, n, down, right, c)
    flat = blocks.reshape(2, 8, -1)
    if bias is None:
        transform(_OUTPUT, values[:36].reshape(2, 18, -1), flat)
    else:
        planes[0:38:37] = bias
        transform(_OUTPUT_AND_BIAS, planes[:38].reshape(2, 19, -1), flat)
    if (down * 4, right * 4) == (h, w):
        move(blocks, _as_blocks(y))
    else:  # the tiles stick out of the image
        pixels = scratch("frame", n, down * 4, right * 4, c)
        move(blocks, _as_blocks(pixels))
        move(pixels[:, :h, :w], y)


def _as_blocks(x):
    """(n, 4·down, 4·right, C) as (2, 2, 4, n, down, right, C): row 2h + p of a block at [p, h]"""
    n, h, w, c = x.shape
    return x.reshape(n, h // 4, 2, 2, w // 4, 4, c).transpose(3, 2, 5, 0, 1, 4, 6)


def _blocks_of(x):
    """The 4×4 blocks of x, with zeros beyond the image: (2, 8, tiles, C)"""
    n, h, w, c = x.shape
    down, right = _tiles(h), _tiles(w)
    blocks = scratch("blocks", 2, 2, 4, n, down, right, c)
    move(_as_blocks(framed(x, 0, 0, down * 4, right * 4)), blocks)
    return blocks.reshape(2, 8, -1, c)


def _tiles_of(x, window: Window):
    """The overlapping 6×6 tiles that the outputs see, 4×4 outputs each: (2, 18, tiles, C)"""
    n, c = len(x), x.shape[3]
    (top, _), (left, _) = window.padding
    down, right = map(_tiles, window.out)
    padded = framed(x, top, left, 4 * down + 2, 4 * right + 2)
    image, row, pixel, value = padded.strides
    # The constructor makes the same view as as_strided, in a thirtieth of the time.
    shape = (2, 3, 6, n, down, right, c)
    strides = (row, 2 * row, pixel, image, 4 * row, 4 * pixel, value)
    overlapping = np.ndarray(shape, np.float32, padded, 0, strides)
    tiles = scratch("tiles", *shape)
    move(overlapping, tiles)
    return tiles.reshape(2, 18, -1, c)


def _tiles(n: int) -> int:
    return -(-n // 4)


def tiles_in(size: tuple[int, int]) -> int:
    return _tiles(size[0]) * _tiles(size[1])


def _images_at_a_time(n: int, out, channels: int, filters: int) -> int:
    tiles = tiles_in(out)
    fitting = _CACHE // (36 * tiles * max(channels, filters))
    small = SMALL // (tiles * channels * filters)
    return max(1, min(fitting, small), min(-(-_ENOUGH // tiles), n // 2))
