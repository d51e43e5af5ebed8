"""The plain kernels against their definitions, written out as loops, and against each other."""

import itertools
import math

import numpy as np
import pytest

from tinydiff import kernels
from tinydiff.kernels import plain
from tinydiff.kernels.special import erfc, log_erfcx
from tinydiff.kernels.window import Window

WINDOWS = [
    Window.over((4, 5), (3, 2), stride=(1, 2), padding=(2, 1)),
    Window.over((5, 4), (2, 2), stride=3, padding="same", groups=2),
    Window.over((7, 6), (3, 2), dilation=(2, 3), groups=4),
    Window((3, 4), (2, 3), (2, 1), (1, 1), ((3, 0), (0, 2)), (3, 4)),
]
EACH_WINDOW = pytest.mark.parametrize("window", WINDOWS)


def seen(x, window, n, i, j, a, b, c):
    """The pixel under tap (a, b) of the window at (i, j), zero beyond the image."""
    (sh, sw), (dh, dw) = window.stride, window.dilation
    row, column = i * sh + a * dh - window.padding[0][0], j * sw + b * dw - window.padding[1][0]
    inside = 0 <= row < window.image[0] and 0 <= column < window.image[1]
    return x[n, row, column, c] if inside else 0.0


def trilinear(x, weight, g, window):
    """Σ x · w · g over everything: the sum of which the three convolutions are derivatives."""
    total = 0.0
    per_group = weight.shape[2], weight.shape[3] // window.groups
    for n, i, j, a, b, c, o in itertools.product(
        *map(range, (len(x), *window.out, *weight.shape[:2], per_group[0], weight.shape[3]))
    ):
        channel = o // per_group[1] * per_group[0] + c
        total += seen(x, window, n, i, j, a, b, channel) * weight[a, b, c, o] * g[n, i, j, o]
    return total


def arrays(window, rng):
    return (
        rng.standard_normal((2, *window.image, 4)),
        rng.standard_normal((*window.kernel, 4 // window.groups, 4)),
        rng.standard_normal((2, *window.out, 4)),
    )


@EACH_WINDOW
def test_convolutions_are_the_derivatives_of_one_sum(window, rng):
    x, weight, g = arrays(window, rng)
    total = trilinear(x, weight, g, window)
    assert math.isclose((plain.conv2d(x, weight, None, window) * g).sum(), total)
    assert math.isclose((plain.conv2d_input_grad(g, weight, window) * x).sum(), total)
    assert math.isclose((plain.conv2d_weight_grad(x, g, window) * weight).sum(), total)


@EACH_WINDOW
def test_one_output_pixel_of_conv2d(window, rng):
    x, weight, g = arrays(window, rng)
    one = np.zeros_like(g)
    n, i, j, o = (int(rng.integers(size)) for size in g.shape)
    one[n, i, j, o] = 1
    bias = np.arange(4.0)
    y = plain.conv2d(x, weight, bias, window)
    assert y.shape == (2, *window.out, 4)
    assert math.isclose(y[n, i, j, o], trilinear(x, weight, one, window) + o, abs_tol=1e-12)


@EACH_WINDOW
@pytest.mark.parametrize("dtype", [np.float32, np.float64])  # the fast kernel, and the plain one
def test_max_pool_takes_the_first_maximum(window, dtype, rng):
    x = rng.integers(-9, 9, (2, *window.image, 3)).astype(dtype)
    best, switches = kernels.max_pool(x, window)
    gradient = np.zeros_like(x)
    for n, i, j, c in itertools.product(*map(range, best.shape)):
        found = []  # (value, tap, where)
        for a, b in itertools.product(*map(range, window.kernel)):
            row = i * window.stride[0] + a * window.dilation[0] - window.padding[0][0]
            column = j * window.stride[1] + b * window.dilation[1] - window.padding[1][0]
            if 0 <= row < window.image[0] and 0 <= column < window.image[1]:
                tap = a * window.kernel[1] + b
                found.append((x[n, row, column, c], tap, (n, row, column, c)))
        if found:
            value, tap, where = max(found, key=lambda candidate: candidate[0])
            assert (best[n, i, j, c], switches[n, i, j, c]) == (value, tap)
            gradient[where] += 1
        else:
            assert best[n, i, j, c] == -np.inf
    np.testing.assert_array_equal(
        kernels.max_pool_grad(np.ones_like(best), switches, window), gradient
    )


def test_sigmoid_silu_and_softmax_at_the_ends():
    x = np.array([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e4])
    with np.errstate(all="raise", under="ignore"):
        sigmoid = plain.sigmoid(x)
        y, slope = plain.silu(x), plain.silu_grad(np.ones(7), x)
        p = plain.softmax(x)
    by_definition = [1 / (1 + math.exp(min(-v, 700))) for v in x]
    np.testing.assert_allclose(sigmoid, by_definition, rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(y, x * by_definition, rtol=1e-14, atol=1e-290)
    along = [s * (1 + v * (1 - s)) for v, s in zip(x, by_definition, strict=True)]
    np.testing.assert_allclose(slope, along, rtol=1e-13, atol=1e-290)
    np.testing.assert_allclose(p, [0, 0, 0, 0, 0, 0, 1], atol=1e-300)


def test_erfc_against_the_standard_library():
    x = np.concatenate([np.linspace(-9, 9, 5001), [-40.0, 40.0]])
    wanted = np.array([math.erfc(v) for v in x])
    np.testing.assert_allclose(erfc(x), wanted, rtol=0, atol=4e-15)
    assert erfc(x.astype(np.float32)).dtype == np.float32


def test_log_erfcx_against_the_standard_library_and_its_limit():
    x = np.linspace(0, 6, 2001)
    wanted = [v * v + math.log(math.erfc(v)) for v in x]
    np.testing.assert_allclose(log_erfcx(x), wanted, rtol=0, atol=3e-14)
    far = np.geomspace(6, 1e6, 200)
    series = 1 - 1 / (2 * far**2) + 3 / (4 * far**4) - 15 / (8 * far**6) + 105 / (16 * far**8)
    np.testing.assert_allclose(log_erfcx(far), np.log(series / far / math.sqrt(math.pi)), atol=4e-6)
