"""3×3 convolution of stride 1 with 4× fewer multiplications: Winograd's F(4×4, 3×3).

Take one axis.  The 4 outputs of a 3-tap filter over 6 inputs are the coefficients of a product of
polynomials; such a product is determined by its values at 6 points, and at a point the product of
polynomials is a product of numbers:

    y = Aᵀ [ (G w) ⊙ (Bᵀ x) ]        x: 6 inputs, w: 3 taps, y: 4 outputs, 6 multiplications

G evaluates the filter at the points, Bᵀ the (transposed) input, and Aᵀ brings the values back.
In two dimensions the same matrices act on rows and columns, Y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A: 36
multiplications for 16 outputs where the definition has 144.  With many channels, ⊙ followed by the
sum over channels is 36 matrix products (tiles × C) @ (C × filters).

The map is linear in x and in w, so the gradients are its transposes: the input gradient is the
same convolution with the kernel turned by 180°, and

    ∂/∂w = Gᵀ [ Σ_tiles (Bᵀ x B) ⊙ (A g Aᵀ) ] G.

Written row-major on 6×6 tiles flattened to 36, BᵀxB is one product with the 36×36 matrix Bᵀ⊗Bᵀ,
and so on.  The price is rounding, and the points set it: with 0, ±3/4, ±3/2, ∞ relative errors are
1e-6 to 3e-6 in float32, a quarter of those with the usual 0, ±1, ±2, ∞.

Source: A. Lavin & S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016; on the
points, B. Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for
deep neural networks", ACM Trans. Math. Softw. 46, 2020.
"""

import numpy as np

from tinydiff.kernels.window import Window
from tinydiff.kernels.workers import parallel, parallel_sum, scratch

_POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)  # and ∞


def _matrices():
    """Bᵀ (6, 6), G (6, 3) and Aᵀ (4, 6) of the points"""
    others = [[q for q in _POINTS if q != p] for p in _POINTS]
    bt = [[*np.poly(roots)[::-1], 0] for roots in others] + [np.poly(_POINTS)[::-1]]
    g = [
        np.array([1, p, p**2]) / np.prod(np.subtract(p, roots))
        for p, roots in zip(_POINTS, others, strict=True)
    ] + [[0, 0, 1]]
    at = [[*(p**i for p in _POINTS), i == 3] for i in range(4)]
    return np.array(bt), np.array(g), np.array(at)


# Transforms of a flattened tile: (36, 36) for inputs, (36, 9) for filters, (16, 36) for outputs.
_INPUT, _FILTER, _OUTPUT = (np.kron(m, m).astype(np.float32) for m in _matrices())
_OUTPUT_T, _FILTER_T = np.ascontiguousarray(_OUTPUT.T), np.ascontiguousarray(_FILTER.T)

_CACHE = 300_000  # elements of one transformed array that a worker keeps in its cache
_ENOUGH = 128  # tiles that make the 36 products efficient


def suits(channels: int, filters: int, window: Window) -> bool:
    """3×3, stride 1, enough channels to pay for the transforms, little waste at the border."""
    tiles = 16 * _tiles(window.out[0]) * _tiles(window.out[1])
    return (
        window.kernel == (3, 3)
        and window.stride == (1, 1)
        and window.dilation == (1, 1)
        and window.groups == 1
        and min(channels, filters) >= 16
        and tiles <= 1.8 * window.out[0] * window.out[1]
    )


def conv2d(x, weight, bias, window: Window):
    """`plain.conv2d`"""
    return _convolve(x, weight, bias, window.out, (window.padding[0][0], window.padding[1][0]))


def conv2d_input_grad(g, weight, window: Window):
    """`plain.conv2d_input_grad`: the same convolution, with the kernel turned by 180°"""
    turned = weight[::-1, ::-1].swapaxes(2, 3)
    first = (2 - window.padding[0][0], 2 - window.padding[1][0])
    return _convolve(g, turned, None, window.image, first)


def conv2d_weight_grad(x, g, window: Window):
    """`plain.conv2d_weight_grad`"""
    x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    n, h, w, filters = g.shape
    channels = x.shape[3]
    down, right = _tiles(h), _tiles(w)
    first = (window.padding[0][0], window.padding[1][0])

    def work(low, high, out):
        tiles = (high - low) * down * right
        seen = _transformed_tiles(x[low:high], down, right, first)
        blocks = _blocks(g[low:high], down, right)
        spread = scratch("spread", 36, tiles * filters)
        np.matmul(_OUTPUT_T, blocks, out=spread)
        np.matmul(seen.transpose(0, 2, 1), spread.reshape(36, tiles, filters), out=out)

    chunk = _images_at_a_time(n, down * right, max(channels, filters))
    total = parallel_sum(work, n, chunk, 4 * (x.size + g.size), (36, channels, filters))
    return _product(_FILTER_T, total.reshape(36, -1)).reshape(3, 3, channels, filters)


def _convolve(x, weight, bias, out, first):
    """Correlate x, with zeros around it, so that output (0, 0) sees x from −first on."""
    x = np.ascontiguousarray(x)
    n, channels, filters = len(x), x.shape[3], weight.shape[3]
    h, w = out
    down, right = _tiles(h), _tiles(w)
    whole = (down * 4, right * 4) == (h, w)
    transformed = _product(_FILTER, np.ascontiguousarray(weight).reshape(9, -1))
    transformed = transformed.reshape(36, channels, filters)
    y = np.empty((n, h, w, filters), np.float32)
    offset = np.float32(0) if bias is None else bias

    def work(low, high, _):
        images = high - low
        tiles = images * down * right
        seen = _transformed_tiles(x[low:high], down, right, first)
        product = scratch("product", 36, tiles, filters)
        np.matmul(seen, transformed, out=product)
        blocks = scratch("blocks", 16, tiles * filters)
        np.matmul(_OUTPUT, product.reshape(36, -1), out=blocks)
        # From (4, 4, image, tile row, tile column) to pixels; tiles may stick out of the image.
        blocks = blocks.reshape(4, 4, images, down, right, filters).transpose(2, 3, 0, 4, 1, 5)
        if whole:
            np.add(blocks, offset, out=y[low:high].reshape(blocks.shape))
        else:
            pixels = scratch("spread", images, down * 4, right * 4, filters)
            np.copyto(pixels.reshape(blocks.shape), blocks)
            np.add(pixels[:, :h, :w], offset, out=y[low:high])

    chunk = _images_at_a_time(n, down * right, max(channels, filters))
    parallel(work, n, chunk, 4 * (x.size + y.size))
    return y


def _transformed_tiles(x, down: int, right: int, first):
    """Bᵀ x B of the overlapping 6×6 tiles whose outputs cover the image: (36, tiles, C)"""
    n, h, w, c = x.shape
    top, left = first
    height, width = 4 * down + 2, 4 * right + 2
    padded = scratch("padded", n, height, width, c)
    rows, columns = min(h, height - top), min(w, width - left)
    skip_top, skip_left = max(-top, 0), max(-left, 0)
    top, left = max(top, 0), max(left, 0)
    rows, columns = rows - skip_top, columns - skip_left
    padded[:, :top] = 0
    padded[:, top + rows :] = 0
    padded[:, top : top + rows, :left] = 0
    padded[:, top : top + rows, left + columns :] = 0
    padded[:, top : top + rows, left : left + columns] = x[
        :, skip_top : skip_top + rows, skip_left : skip_left + columns
    ]
    image, row, pixel, value = padded.strides
    # The constructor makes the same view as as_strided, in a thirtieth of the time.
    shape, strides = (6, 6, n, down, right, c), (row, pixel, image, 4 * row, 4 * pixel, value)
    overlapping = np.ndarray(shape, np.float32, padded, 0, strides)
    tiles = scratch("tiles", 36, n * down * right * c)
    np.copyto(tiles.reshape(overlapping.shape), overlapping)
    transformed = scratch("seen", 36, n * down * right * c)
    np.matmul(_INPUT, tiles, out=transformed)
    return transformed.reshape(36, n * down * right, c)


def _blocks(g, down: int, right: int):
    """g cut into 4×4 blocks, zeros beyond the image: (16, tiles · filters)"""
    n, h, w, c = g.shape
    if (down * 4, right * 4) != (h, w):
        full = scratch("padded", n, down * 4, right * 4, c)
        full[:, h:] = 0
        full[:, :h, w:] = 0
        full[:, :h, :w] = g
        g = full
    blocks = scratch("blocks", 16, n * down * right * c)
    np.copyto(
        blocks.reshape(4, 4, n, down, right, c),
        g.reshape(n, down, 4, right, 4, c).transpose(2, 4, 0, 1, 3, 5),
    )
    return blocks


def _product(a, b):
    """a @ b for a small transform a, shared out over the columns of b"""
    y = np.empty((len(a), b.shape[1]), np.float32)

    def work(low, high, _):
        np.matmul(a, b[:, low:high], out=y[:, low:high])

    parallel(work, b.shape[1], b.shape[1], b.size + y.size)
    return y


def _tiles(n: int) -> int:
    return -(-n // 4)


def _images_at_a_time(n: int, tiles: int, channels: int) -> int:
    fitting = _CACHE // (36 * tiles * channels)
    return max(1, fitting, min(-(-_ENOUGH // tiles), n // 2))
