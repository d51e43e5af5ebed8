"""Each kernel against its plain twin in float64, on random and on awkward shapes."""

import re

import numpy as np
import pytest
from kernel_cases import (
    AWKWARD,
    attention,
    check,
    check_close,
    conv,
    drawn_window,
    expected,
    gelu,
    group_norm,
    integers,
    large_cases,
    linear,
    matmul,
    matmul_t,
    max_pool,
    normal,
    relu,
    results,
    silu,
    sum_blocks,
    sum_rows,
)

from tinydiff import kernels
from tinydiff.kernels import plain
from tinydiff.kernels.window import Window

pytestmark = pytest.mark.filterwarnings("error")


def any_conv(rng):
    window = drawn_window(rng, (1, 17), (1, 5))
    return conv(rng, *integers(rng, (1, 5), (1, 20), (1, 20)), window, rng.random() < 0.5)


def conv3x3(rng):
    """What Winograd's transform is for, with tiles that stick out of the image."""
    window = drawn_window(rng, (1, 20), (3, 3), stride=1, dilation=1, padding=4)
    return conv(rng, *integers(rng, (1, 9), (16, 50), (16, 50)), window, rng.random() < 0.5)


def deep_conv3x3(rng):
    """More channels than tiles of 4×4 outputs."""
    window = drawn_window(rng, (2, 8), (3, 3), stride=1, dilation=1, padding=2)
    return conv(rng, *integers(rng, (1, 4), (30, 150), (30, 150)), window, rng.random() < 0.5)


def few_filters_conv(rng):
    """To a few channels from many, or the other way round, which has such an input gradient."""
    window = drawn_window(rng, (1, 15), (1, 5), stride=1, dilation=1, padding=6)
    channels, filters = rng.permutation(integers(rng, (20, 40), (1, 8)))
    return conv(rng, integers(rng, (1, 7))[0], channels, filters, window, rng.random() < 0.5)


def whole_conv(rng):
    """Of windows about as large as the picture, or of a few channels with a stride."""
    if rng.random() < 0.5:
        side = integers(rng, (2, 9))[0]
        pad = integers(rng, (0, 1))[0] if side > 2 else 0
        image = (side + rng.integers(2) - 2 * pad, side - 2 * pad)
        window = Window.over(image, (side, side), padding=pad)
        return conv(rng, *integers(rng, (1, 7), (1, 30), (9, 40)), window, rng.random() < 0.5)
    window = drawn_window(rng, (4, 20), (2, 4), stride=3)
    return conv(rng, *integers(rng, (1, 7), (1, 3), (16, 40)), window, rng.random() < 0.5)


def few_channels_conv(rng):
    """From a few channels, of any geometry."""
    window = drawn_window(rng, (1, 20), (2, 4))
    return conv(rng, *integers(rng, (1, 7), (1, 6), (9, 40)), window, rng.random() < 0.5)


def grouped_conv(rng):
    groups, c, o, n = integers(rng, (2, 4), (1, 5), (1, 5), (1, 3))
    window = Window.over((9, 8), (3, 2), stride=2, padding="same", groups=groups)
    return conv(rng, n, groups * c, groups * o, window)


def any_matmul(rng):
    n, k, m = integers(rng, (1, 700), (1, 200), (1, 200))
    return matmul(rng, (n, k), (k, m))


def any_stack_of_matmuls(rng):
    """With one matrix on the right, with as many as on the left, or broadcast."""
    n, k, m, *lead = integers(rng, (1, 60), (1, 60), (1, 60), (1, 6), (1, 6))
    lead = tuple(lead[: int(rng.integers(1, 3))])
    right = [(), lead, (1,) * len(lead), lead[1:]][int(rng.integers(4))]
    return matmul(rng, (*lead, n, k), (*right, k, m))


def any_matmul_t(rng):
    return matmul_t(rng, *integers(rng, (1, 1200), (1, 80), (1, 80)))


def any_linear(rng):
    return linear(rng, *integers(rng, (1, 1200), (1, 80), (1, 80)))


def any_sum_rows(rng):
    return sum_rows(rng, *integers(rng, *[(1, 30)] * rng.integers(1, 4)))


def any_sum_blocks(rng):
    return sum_blocks(rng, *integers(rng, (1, 9), (1, 20), (1, 20), (1, 40), (1, 4)))


def any_max_pool(rng):
    """Windows with gaps between them, side by side or overlapping, with padding, on odd sides."""
    while True:
        size, kernel, stride, padding = (
            tuple(integers(rng, *[span] * 2)) for span in ((1, 15), (1, 5), (1, 5), (0, 2))
        )
        if all(p < k <= n + 2 * p for n, k, p in zip(size, kernel, padding, strict=True)):
            window = Window.over(size, kernel, stride=stride, padding=padding)
            return max_pool(rng, *integers(rng, (1, 7), (1, 40)), window)


def any_relu(rng):
    return relu(rng, *integers(rng, *[(8, 50)] * rng.integers(1, 4)))


def any_silu(rng):
    return silu(rng, *integers(rng, *[(8, 50)] * rng.integers(1, 4)))


def any_gelu(rng):
    return gelu(rng, *integers(rng, *[(8, 50)] * rng.integers(1, 4)))


def any_attention(rng):
    lead = tuple(integers(rng, *[(1, 4)] * rng.integers(0, 3)))
    mask = None if rng.random() < 0.4 else tuple(n if rng.random() < 0.5 else 1 for n in lead)
    return attention(rng, lead, *integers(rng, (1, 40), (2, 40), (1, 40), (1, 40)), mask)


def any_group_norm(rng):
    # Gradients of very small groups cancel almost entirely: a test of their own, below.
    n, pixels, groups, per_group = integers(rng, (1, 9), (1, 300), (1, 8), (1, 8))
    pixels = max(pixels, 16 // per_group + 1)
    return group_norm(rng, n, pixels, groups * per_group, groups, bool(rng.random() < 0.5))


def any_layer_norm(rng):
    n, channels = integers(rng, (1, 40), (16, 100))
    return group_norm(rng, n, 1, channels, 1, bool(rng.random() < 0.2))


@pytest.mark.parametrize(
    "draw, count",
    [
        (any_conv, 150),
        (conv3x3, 50),
        (deep_conv3x3, 40),
        (few_filters_conv, 60),
        (few_channels_conv, 50),
        (whole_conv, 60),
        (grouped_conv, 20),
        (any_matmul, 30),
        (any_stack_of_matmuls, 40),
        (any_matmul_t, 30),
        (any_linear, 30),
        (any_sum_rows, 30),
        (any_sum_blocks, 30),
        (any_max_pool, 100),
        (any_relu, 30),
        (any_silu, 30),
        (any_gelu, 30),
        (any_attention, 60),
        (any_group_norm, 60),
        (any_layer_norm, 40),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_random_shapes(draw, count, rng, set_threads):
    for _ in range(count):
        set_threads(int(rng.integers(1, 4)))
        check(draw(rng))


def test_concatenate_along_any_axis(rng, set_threads):
    """Of any lengths, 0 too, and of arrays that do not lie in one piece: the same bits"""
    for _ in range(60):
        set_threads(int(rng.integers(1, 4)))
        shape = integers(rng, *[(1, 12)] * 4)
        axis = integers(rng, (1, 3))[0]
        arrays = []
        for length in integers(rng, *[(0, 40)] * integers(rng, (1, 3))[0]):
            shape[axis] = length
            a = normal(rng, *shape)
            arrays.append(np.asfortranarray(a) if rng.random() < 0.2 else a)
        got = kernels.concatenate(arrays, axis)
        np.testing.assert_array_equal(got, np.concatenate(arrays, axis=axis), strict=True)


@pytest.mark.parametrize("image, kernel, settings", AWKWARD)
@pytest.mark.parametrize("channels, filters", [(1, 1), (3, 17), (18, 16)])
def test_awkward_convolutions(image, kernel, settings, channels, filters, rng):
    window = Window.over(image, kernel, **settings)
    for n in (1, 3):
        check(conv(rng, n, channels, filters, window))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("case", range(len(large_cases(np.random.default_rng(0)))))
def test_enough_work_for_several_workers(threads, case, rng, set_threads):
    set_threads(threads)
    check(large_cases(rng)[case])


@pytest.mark.parametrize("settings", [{"kernel": 3, "padding": 1}, {"kernel": 4, "stride": 2}])
def test_batches_around_the_boundaries_of_workers_and_chunks(settings, rng, set_threads):
    kernel = settings.pop("kernel")
    window = Window.over((24, 20), (kernel, kernel), **settings)
    for n in (*range(1, 12), 16, 17):
        for threads in (2, 3):
            set_threads(threads)
            check(conv(rng, n, 16, 16, window))


@pytest.mark.parametrize("n, pixels, channels", [(1, 5000, 33), (3, 2053, 40), (5, 1001, 130)])
def test_norms_of_images_larger_than_a_piece(n, pixels, channels, rng, set_threads):
    """Alone, a piece is 65,536 elements: a band of an image, or all of it if L has no divisors."""
    set_threads(1)
    groups = 10 if channels % 10 == 0 else channels
    for mean in (0.5, 100):
        case = group_norm(rng, n, pixels, channels, groups, silu=True, mean=mean)
        check(case, slack=1 if mean < 1 else 10)


def test_many_channels(rng):
    check(conv(rng, 2, 512, 384, Window.over((6, 6), (1, 1))))
    check(conv(rng, 2, 256, 300, Window.over((8, 8), (3, 3), padding=1)))
    check(conv(rng, 2, 300, 256, Window.over((8, 8), (3, 3), stride=2, padding="same")))
    check(group_norm(rng, 2, 16, 1024, 32, silu=True))


WEIRD = np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0], np.float32)


@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1)])
def test_the_switches_of_max_pool(kernel, stride, padding, rng, set_threads):
    """Those of the plain one, where maxima are met again, NaN or infinite too; a byte each."""
    window = Window.over((9, 8), (kernel, kernel), stride=stride, padding=padding)
    for values in (WEIRD, WEIRD[1:], WEIRD[3:]):
        set_threads(int(rng.integers(1, 4)))
        x = rng.choice(values, (300, 9, 8, 5))
        (y, switches), (wanted, taps) = kernels.max_pool(x, window), plain.max_pool(x, window)
        assert switches.dtype == np.uint8
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(switches, taps)


@pytest.mark.parametrize("size, padding, dilation", [(6, 0, 1), (3, 1, 1), (6, 0, 2), (7, 0, 1)])
def test_max_pool_of_windows_side_by_side(size, padding, dilation, rng):
    """Whether they cover the picture, or leave pixels at its border or within themselves."""
    kernel = (3, 3) if dilation == 1 else (2, 2)
    settings = {"stride": 3, "padding": padding, "dilation": dilation}
    check(max_pool(rng, 5, 4, Window.over((size, size), kernel, **settings)))


def test_the_switches_of_windows_with_many_taps(rng):
    window = Window.over((20, 20), (18, 17))
    x = normal(rng, 2, 20, 20, 3)
    x[0, 17, 16, 0] = 9  # the last of the first window
    _, switches = kernels.max_pool(x, window)
    np.testing.assert_array_equal(switches, plain.max_pool(x, window)[1])
    assert switches.max() > 255  # so there was one that does not fit a byte


def test_relu_of_numbers_that_are_none():
    with np.errstate(invalid="ignore"):
        for g in (WEIRD, np.ones_like(WEIRD)):
            np.testing.assert_array_equal(kernels.relu(WEIRD), plain.relu(WEIRD))
            grad = kernels.relu_grad(g, WEIRD)
            np.testing.assert_array_equal(grad, plain.relu_grad(g, WEIRD))


@pytest.mark.parametrize("shape", [(7,), (3, (1 << 17) + 1)])
def test_relu_into_an_array(shape, rng, set_threads):
    set_threads(2)
    x = normal(rng, *shape)
    wanted, apart = plain.relu(x), np.full((*shape, 2), -1, np.float32)
    for out in (np.empty_like(x), apart[..., 0], x):
        assert kernels.relu(x, out) is out
        np.testing.assert_array_equal(out, wanted)
    assert (apart[..., 1] == -1).all()


@pytest.mark.parametrize("size", [(1 << 16) + d for d in (-1, 0, 1)] + [(1 << 17) + 1, 3 << 16])
def test_sizes_around_a_chunk(size, rng, set_threads):
    set_threads(3)
    check(relu(rng, size))
    check(silu(rng, size))
    check(gelu(rng, size))
    check(group_norm(rng, size // 64, 1, 64, 1))
    check(sum_rows(rng, size // 64, 64))
    check(sum_rows(rng, 3, size // 3))
    check(matmul(rng, (size // 64, 32), (32, 32)))
    check(matmul_t(rng, size // 64, 32, 32))


@pytest.mark.parametrize("t, s, lead", [(256, 256, (3,)), (255, 257, (3,)), (300, 300, (2, 1))])
def test_attention_around_a_chunk(t, s, lead, rng, set_threads):
    set_threads(2)
    check(attention(rng, lead, t, s, 4, 4, mask=(1,) * len(lead)))


@pytest.mark.parametrize("n, pixels, channels, groups", [(3, 1, 2, 1), (2, 2, 4, 4), (4, 3, 2, 2)])
def test_group_norm_of_tiny_groups(n, pixels, channels, groups, rng):
    """Compared on the scale of the terms of its gradient, which cancel here."""
    case = group_norm(rng, n, pixels, channels, groups)
    x, weight, _, g = case.arrays
    deviation = x.reshape(n, pixels, groups, -1).astype(np.float64).std(axis=(1, 3)).min()
    scale = np.abs(g * weight).max() / deviation
    got = results(case)
    wanted = results(case, [a.astype(np.float64) for a in case.arrays], plain)
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got[3], wanted[3], rtol=0, atol=1e-5 * scale)


def of_frozen_weights(case):
    """What the case's group norm returns, and its picture's gradient, where nothing else learns."""
    groups = int(re.search(r"groups=(\d+)", case.about)[1])
    x, weight, bias, g = case.arrays
    y, saved, mean, variance = kernels.group_norm(x, weight, bias, groups, 1e-5, True, True)
    gx, *none = kernels.group_norm_grad(g, saved, weight)
    assert none == [None, None]
    return y, mean, variance, gx


@pytest.mark.parametrize("mean", [0.5, 100])
def test_group_norm_of_frozen_weights(mean, rng, set_threads):
    sizes = [(3, 12_000, 16, 4), (1, 2053, 40, 40), (700, 4, 24, 2)]
    sizes += [(n, 10 * pixels, 2 * c, 2) for n, pixels, c in rng.integers(1, 20, (20, 3)).tolist()]
    for size in sizes:
        set_threads(int(rng.integers(1, 4)))
        case = group_norm(rng, *size, silu=True, mean=mean)
        case.usual = case.usual[:4]
        wanted = expected(case)[:4]
        check_close(case, of_frozen_weights(case), wanted, slack=1 if mean < 1 else 10)


def test_group_norm_of_frozen_weights_has_a_gradient_as_often_as_it_is_asked_for(rng):
    """Though the first one takes the place of what it is made from."""
    x, weight, bias, g = group_norm(rng, 3, 50, 16, 4, silu=True).arrays
    _, saved, *_ = kernels.group_norm(x, weight, bias, 4, 1e-5, True, True)
    first = kernels.group_norm_grad(g, saved, weight)[0]
    wanted = first.copy()
    for _ in range(2):
        np.testing.assert_array_equal(kernels.group_norm_grad(g, saved, weight)[0], wanted)
    np.testing.assert_array_equal(first, wanted)


def test_every_kernel_with_a_twin_has_a_case(rng):
    called = set()

    class Recorder:
        def __getattr__(self, name):
            called.add(name)
            return getattr(kernels, name)

    for case in large_cases(rng):
        case.run(Recorder(), *case.arrays)
    twins = {
        name
        for name, kernel in vars(kernels).items()
        if callable(kernel) and getattr(plain, name, kernel) is not kernel
    }
    assert called == twins
