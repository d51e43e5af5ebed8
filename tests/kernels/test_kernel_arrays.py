"""What kernels may be given (any layout, read-only) and what they give back (one's own arrays)."""

import numpy as np
import pytest
from kernel_cases import (
    attention,
    check,
    check_close,
    conv,
    expected,
    gelu,
    group_norm,
    large_cases,
    linear,
    matmul,
    matmul_t,
    max_pool,
    relu,
    results,
    silu,
    sum_blocks,
    sum_rows,
)

from tinydiff import kernels
from tinydiff.kernels import plain, workers
from tinydiff.kernels.pixels import move
from tinydiff.kernels.window import Window

pytestmark = pytest.mark.filterwarnings("error")


def column_major(a):
    return np.asfortranarray(a)


def every_second(a):
    spacious = np.full([2 * n for n in a.shape], np.nan, np.float32)
    inner = spacious[tuple(slice(1, None, 2) for _ in a.shape)]
    inner[...] = a
    return inner


def backwards(a):
    flip = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[flip])[flip]


def repeated_rows(a):
    """One row seen over and over, with stride 0."""
    return np.broadcast_to(a[:1], a.shape)


@pytest.mark.parametrize("layout", [column_major, every_second, backwards, repeated_rows])
def test_any_layout(layout, rng):
    for case in large_cases(rng):
        for i, a in enumerate(case.arrays):
            arrays = list(case.arrays)
            arrays[i] = layout(a)
            check(case, arrays)


def test_one_number_repeated_everywhere(rng):
    """Stride 0 on all axes, as in the gradient of a sum."""
    for case in large_cases(rng):
        *others, last = case.arrays
        number = np.broadcast_to(last.reshape(-1)[:1], last.shape)
        # Adding one number many times rounds in one direction: the errors add up too.
        check(case, [*others, number], slack=20)


def test_small_arrays_of_any_layout(rng):
    small = [
        conv(rng, 2, 3, 5, Window.over((5, 6), (3, 3), stride=2, padding=1)),
        conv(rng, 2, 16, 17, Window.over((5, 6), (3, 3), padding=1)),
        conv(rng, 2, 4, 4, Window.over((5, 6), (1, 1))),
        matmul(rng, (7, 5), (5, 6)),
        matmul(rng, (3, 7, 5), (5, 6)),
        matmul(rng, (3, 7, 5), (3, 5, 6)),
        matmul_t(rng, 7, 5, 6),
        linear(rng, 7, 5, 6),
        sum_rows(rng, 4, 5, 6),
        sum_blocks(rng, 2, 3, 4, 5, 2),
        max_pool(rng, 2, 3, Window.over((5, 6), (3, 2), stride=2, padding=1)),
        relu(rng, 4, 50),
        silu(rng, 4, 50),
        gelu(rng, 4, 50),
        attention(rng, (2, 3), 5, 6, 7, 8, mask=(1, 1)),
        group_norm(rng, 3, 20, 8, 2, silu=True),
    ]
    for case in small:
        for layout in (column_major, every_second, backwards):
            check(case, [layout(a) for a in case.arrays])


def test_results_belong_to_the_caller(rng):
    """Buffers that kernels keep for the next call must not show through."""
    first, second = large_cases(rng), large_cases(rng)
    for case, other in zip(first, second, strict=True):
        got = results(case)
        kept = [a.copy() for a in got]
        results(other)
        for a, b in zip(got, kept, strict=True):
            np.testing.assert_array_equal(a, b, case.about)
            for given in case.arrays:
                assert not np.shares_memory(a, given), case.about


def test_float64_goes_to_the_plain_kernels(rng):
    for case in large_cases(rng):
        arrays = [a.astype(np.float64) for a in case.arrays]
        for a, b in zip(results(case, arrays, kernels), expected(case), strict=True):
            assert a.dtype == np.float64
            np.testing.assert_array_equal(a, b, case.about)


def test_float32_goes_to_the_workers_and_float64_does_not(rng, monkeypatch):
    class Counter:
        entered = 0

        def __enter__(self):
            self.entered += 1

        def __exit__(self, *exception):
            pass

    for case in large_cases(rng):
        if "groups=4" in case.about:  # grouped convolutions have no fast form
            continue
        counter = Counter()
        monkeypatch.setattr(workers, "single_threaded_blas", counter)
        results(case, [a.astype(np.float64) for a in case.arrays])
        assert counter.entered == 0, case.about
        results(case)
        assert counter.entered >= 1, case.about


def test_one_float64_array_is_enough_for_plain(rng):
    case = large_cases(rng)[0]
    x, weight, g, bias = case.arrays
    y = results(case, [x.astype(np.float64), weight, g.astype(np.float64), bias])
    assert [a.dtype for a in y] == [np.float64] * 6


def test_no_rows_at_all():
    none, two = np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32)
    for module in (kernels, plain):
        np.testing.assert_array_equal(module.matmul_t(none, two), np.zeros((3, 2)))
        np.testing.assert_array_equal(module.sum_rows(none), np.zeros(3))
        assert module.matmul(none, np.ones((3, 2), np.float32)).shape == (0, 2)
        for name in ("relu", "silu", "gelu"):
            assert getattr(module, name)(none).shape == (0, 3)
            assert getattr(module, f"{name}_grad")(none, none).shape == (0, 3)


def test_check_close_can_fail(rng):
    case = next(c for c in large_cases(rng) if c.about.startswith("matmul ("))
    wrong = [a * np.float32(1 + 1e-5) for a in results(case)]
    with pytest.raises(AssertionError, match=r"matmul .* off by"):
        check_close(case, wrong, expected(case))


@pytest.mark.parametrize("channels", [1, 3, 63, 64])
def test_pixels_are_moved_bit_by_bit_from_and_to_where_they_lie_apart(channels):
    values = np.random.default_rng(0).standard_normal((3, 5, 4, channels)).astype(np.float32)
    values[0, 0, 0, 0], values[1, 1, 1, 0] = np.nan, -0.0
    source, target = values.swapaxes(0, 1)[::-2], np.zeros((3, 6, 5, channels), np.float32)
    move(source, target[:, 1::2, 1:])
    np.testing.assert_array_equal(target[:, 1::2, 1:].view(np.int32), source.copy().view(np.int32))
    assert not target[:, ::2].any() and not target[:, :, 0].any()
