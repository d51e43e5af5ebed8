"""Convolutions on the device, by either way of computing them, against their plain twins."""

import re

import numpy as np
import pytest
from cuda_cases import device, largest_error
from kernel_cases import AWKWARD, conv, drawn_window, integers

from tinydiff.backend import xp
from tinydiff.kernels import cuda, plain, winograd_matrices
from tinydiff.kernels.cuda import chunks, im2col, winograd
from tinydiff.kernels.cuda.source import HERE
from tinydiff.kernels.window import Window

DTYPES = [np.float32, np.float64]


def check(case, module, dtype, arrays=None) -> None:
    """The module's results are of that dtype, and those of the plain kernels up to rounding"""
    arrays = case.arrays if arrays is None else arrays
    got = case.run(module, *device_like(arrays, dtype))
    expected = case.run(plain, *device_like(arrays, np.float64))
    precision = case.tolerance * np.finfo(dtype).eps / np.finfo(np.float32).eps
    for i, (a, b, usual) in enumerate(zip(got, expected, case.usual, strict=True)):
        name = f"{case.about} by {module.__name__}: result {i}"
        assert a.dtype == dtype and a.shape == b.shape, f"{name}: {a.shape} {a.dtype}"
        a, b = a.get(), b.get()
        error, size = np.abs(a - b).max(), np.abs(b).max(initial=usual)
        assert error <= precision * size, f"{name}: off by {error:.3g}, allowed {precision * size}"


def device_like(arrays, dtype) -> list:
    """On the device, with the axes in memory as they are on the host"""
    found = []
    for a in arrays:
        order = sorted(range(a.ndim), key=lambda axis: -a.strides[axis])
        (flat,) = device([a.transpose(order)], dtype)
        found.append(flat.transpose(*np.argsort(order).tolist()))
    return found


def conv3x3(rng, window):
    """With enough channels for Winograd"""
    channels, filters = integers(rng, (16, 40), (16, 40))
    return conv(rng, *integers(rng, (1, 3)), channels, filters, window, rng.random() < 0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_convolutions(dtype, rng):
    for _ in range(60):
        window = drawn_window(rng, (1, 13), (1, 5))
        n, c, o = integers(rng, (1, 4), (1, 20), (1, 20))
        case = conv(rng, n, c, o, window, rng.random() < 0.5)
        check(case, im2col, dtype)
        check(case, cuda, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_3x3_convolutions(dtype, rng):
    for _ in range(15):
        window = drawn_window(rng, (1, 13), (3, 3), stride=1, dilation=1, padding=6)
        case = conv3x3(rng, window)
        if winograd.suits(16, 16, window):
            check(case, winograd, dtype)
        check(case, cuda, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels, filters", [(1, 1), (3, 17), (18, 16)])
def test_awkward_convolutions(channels, filters, dtype, rng):
    for image, kernel, settings in AWKWARD:
        window = Window.over(image, kernel, **settings)
        for n in (1, 3):
            case = conv(rng, n, channels, filters, window)
            check(case, im2col, dtype)
            check(case, cuda, dtype)


@pytest.mark.parametrize("stride, dilation", [(2, 3), (3, 2), (4, 6), (6, 4), (2, 2)])
def test_taps_that_meet_a_pixel_are_some_steps_apart(stride, dilation, rng):
    """A pixel is seen at every (stride / gcd)-th tap of the window, or at none."""
    for kernel in [(7, 2), (3, 8)]:
        settings = {"stride": stride, "dilation": dilation, "padding": dilation}
        window = Window.over((47, 43), kernel, **settings)
        check(conv(rng, 1, 2, 3, window), im2col, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", [0, 1, 2, 3, 7])
def test_borders_of_winograd(padding, dtype, rng):
    """Tiles that stick out, images of a pixel, outputs that see nothing but padding"""
    for image in [(1, 1), (1, 6), (4, 4), (5, 3), (8, 7)]:
        if min(image) + 2 * padding >= 3:
            window = Window.over(image, (3, 3), padding=padding)
            check(conv3x3(rng, window), winograd, dtype)


def test_lopsided_borders_of_winograd(rng):
    for padding in [((0, 1), (1, 0)), ((4, 0), (0, 5)), ((0, 3), (2, 2))]:
        out = tuple(n + sum(p) - 2 for n, p in zip((6, 9), padding, strict=True))
        window = Window((6, 9), (3, 3), (1, 1), (1, 1), padding, out)
        check(conv3x3(rng, window), winograd, np.float64)


@pytest.mark.parametrize("images", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("channels, filters", [(18, 16), (16, 18)])
@pytest.mark.parametrize("module", [im2col, winograd, cuda])
def test_chunks_of_images(module, channels, filters, images, rng, monkeypatch):
    windows = [Window.over((6, 7), (3, 3), padding=1)]
    if module is not winograd:
        windows += [Window.over((6, 7), (4, 3), stride=2, padding=1), Window.over((6, 7), (1, 1))]
    for window in windows:
        elements = 36 * 4 * 34 if module is winograd else 42 * 9 * 16
        monkeypatch.setattr(chunks, "WORKSPACE", images * elements * 8)
        for n in (1, 5, 6):
            check(conv(rng, n, channels, filters, window), module, np.float64)


def test_rows_fit_the_workspace(rng, monkeypatch):
    made = []
    gathered, collected = im2col._rows, im2col._collect
    monkeypatch.setattr(im2col, "_rows", lambda *a: made.append(gathered(*a)) or made[-1])
    monkeypatch.setattr(im2col, "_collect", lambda *a: made.append(a[0]) or collected(*a))
    monkeypatch.setattr(chunks, "WORKSPACE", 2 * 42 * 9 * 8 * 8)  # of two images
    for channels, filters in [(8, 9), (9, 8)]:
        check(
            conv(rng, 7, channels, filters, Window.over((6, 7), (3, 3), padding=1)), im2col, float
        )
    assert {rows.nbytes for rows in made if rows.dtype == float} == {
        chunks.WORKSPACE,
        42 * 9 * 8 * 8,
    }


@pytest.mark.parametrize(
    "images, elements, expected",
    [(10, 4, [10]), (11, 4, [6, 5]), (128, 16, [2] * 64), (3, 1000, [1, 1, 1]), (5, 0, [5])],
)
def test_chunks_are_of_nearly_one_size(images, elements, expected, monkeypatch):
    monkeypatch.setattr(chunks, "WORKSPACE", 40 * 4)
    found = list(chunks.chunks(images, elements, np.dtype(np.float32)))
    assert [part.stop - part.start for part in found] == expected
    assert found[0].start == 0 and found[-1].stop == images


@pytest.mark.parametrize("module", [im2col, winograd, cuda])
def test_views(module, rng):
    """Every argument laid out otherwise than in order, as transposed convolution passes weights"""
    windows = [Window.over((6, 7), (3, 3), padding=1)]
    if module is not winograd:
        windows += [Window.over((6, 7), (4, 3), stride=2, padding=1), Window.over((6, 7), (1, 1))]
    for window in windows:
        case = conv(rng, 3, 18, 16, window)
        x, weight, g, bias = case.arrays
        views = [
            np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
            np.ascontiguousarray(weight.swapaxes(2, 3)).swapaxes(2, 3),
            np.ascontiguousarray(g.T).T,
            bias,
        ]
        assert not any(a.flags.c_contiguous for a in device_like(views[:3], np.float32))
        check(case, module, np.float64, views)
    bias = xp.asarray(np.arange(32.0))[::2]
    x, weight = device(case.arrays[:2], np.float64)
    got = module.conv2d(x, weight, bias, window)
    assert largest_error(got, plain.conv2d(x, weight, bias, window)) < 1e-13


def test_gradients_that_nobody_needs_are_not_computed(rng):
    for window in (Window.over((8, 8), (3, 3), padding=1), Window.over((8, 8), (3, 3), stride=2)):
        x, weight, g, _ = device(conv(rng, 2, 16, 16, window).arrays, np.float64)
        expected = plain.conv2d_grads(x, g, weight, window)
        for needed in np.ndindex(2, 2, 2):
            got = cuda.conv2d_grads(x, g, weight, window, needed)
            for a, b, wanted in zip(got, expected, needed, strict=True):
                assert a is not None or not wanted
                assert a is None or largest_error(a, b) < 1e-13


# The choice


def chosen(images, channels, filters, window):
    a = xp.zeros(1, np.float32)
    return cuda._convolution(images, channels, filters, window, a)


def test_the_module_that_moves_less_memory_is_chosen(monkeypatch):
    square = lambda size, kernel=3, **settings: Window.over(
        (size, size), (kernel, kernel), padding="same", **settings
    )
    assert chosen(128, 128, 128, square(32)) is winograd
    assert chosen(128, 64, 64, square(4)) is winograd
    assert chosen(128, 128, 128, square(2)) is im2col  # a tile has four times as many pixels
    assert chosen(2, 512, 512, square(8)) is im2col  # hardly any pixels for that many filters
    assert chosen(128, 3, 64, square(32)) is chosen(128, 128, 16, square(32)) is im2col
    for other in (square(32, 1), square(32, 5), square(32, stride=2), square(32, dilation=2)):
        assert chosen(128, 128, 128, other) is im2col
    assert chosen(128, 128, 128, square(32, groups=2)) is plain
    monkeypatch.setattr(cuda, "USE_WINOGRAD", False)
    assert chosen(128, 128, 128, square(32)) is im2col


def test_memory_traffic():
    """1.34 GB and 0.74 GB"""
    shape = 128, 128, 128, Window.over((32, 32), (3, 3), padding=1)
    pixels, filters = 2 * 128 * 32 * 32 * 128, 9 * 128 * 128
    assert im2col.traffic(*shape) == 2 * 128 * 32 * 32 * 9 * 128 + pixels + filters
    assert winograd.traffic(*shape) == pixels + 5 * filters * 2 - filters + 72 * 8192 * 256
    few = 128, 128, 3, shape[3]  # rows of 27, not of 1152
    assert im2col.traffic(*few) == 128 * 32 * 32 * (131 + 2 * 27) + 9 * 128 * 3
    assert round(im2col.traffic(*shape) * 4e-9, 2) == 1.34
    assert round(winograd.traffic(*shape) * 4e-9, 2) == 0.74


@pytest.mark.parametrize("dtype", [np.float16, np.complex64])
def test_other_dtypes_take_the_plain_kernels(dtype, rng):
    window = Window.over((5, 5), (3, 3), padding=1)
    x, weight = (xp.asarray(a.astype(dtype)) for a in conv(rng, 1, 16, 16, window).arrays[:2])
    assert cuda._convolution(1, 16, 16, window, x, weight) is plain
    assert cuda.conv2d(x, weight, None, window).dtype == dtype


def test_mixed_dtypes_take_the_plain_kernels(rng):
    window = Window.over((5, 5), (3, 3), padding=1)
    x, weight = device(conv(rng, 1, 16, 16, window).arrays[:2], np.float64)
    assert cuda._convolution(1, 16, 16, window, x.astype(np.float32), weight) is plain


def test_grouped_convolutions(rng):
    window = Window.over((9, 8), (3, 2), stride=2, padding="same", groups=3)
    check(conv(rng, 2, 6, 9, window), cuda, np.float64)


# What they stand on


def test_matrices_are_those_of_the_equations():
    text = (HERE / "winograd.cu").read_text("utf-8")
    for name in ("BT", "G", "A"):
        body = re.search(rf"real {name}\[6\]\[\d\] = (\{{.*?\}});", text, re.DOTALL)[1]
        rows = eval(body.replace("{", "[").replace("}", "]"))
        np.testing.assert_allclose(rows, getattr(winograd_matrices, name), rtol=1e-15, atol=1e-15)
