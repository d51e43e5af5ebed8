"""Calls of the kernels as functions of arrays alone: one loop holds any of them to its plain twin.

``case.run(module, *case.arrays)`` calls kernels of ``module``, which is `tinydiff.kernels` or
`tinydiff.kernels.plain`, and returns their results.  In float32 a result may be off by
``case.tolerance`` × the largest |number| in it.  A sum may come out small by chance, with an error
that belongs to its terms: what counts then is ``case.usual``, for a sum √(number of terms).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from tinydiff import kernels
from tinydiff.kernels import plain
from tinydiff.kernels.window import Window

PLAIN = 2e-6
WINOGRAD = 5e-6  # 3×3 convolutions of many channels may go through a transform that rounds more


@dataclasses.dataclass
class Case:
    about: str
    run: Callable
    arrays: list
    usual: tuple[float, ...]  # one per result
    tolerance: float = PLAIN


def conv(rng, n, channels, filters, window: Window, bias=True) -> Case:
    arrays = [
        normal(rng, n, *window.image, channels),
        normal(rng, *window.kernel, channels // window.groups, filters),
        normal(rng, n, *window.out, filters),
        *([normal(rng, filters)] if bias else []),
    ]

    def run(k, x, weight, g, bias=None):
        return (
            k.conv2d(x, weight, bias, window),
            k.conv2d_input_grad(g, weight, window),
            k.conv2d_weight_grad(x, g, window),
            *k.conv2d_grads(x, g, weight, window),
        )

    small = window.kernel != (3, 3) or window.stride != (1, 1) or min(channels, filters) < 16
    about = f"conv n={n} {channels}→{filters} {window}"
    area, taps = math.prod(window.out), math.prod(window.kernel)
    gradients = filters**0.5, (n * area) ** 0.5
    usual = (taps * channels) ** 0.5, *gradients, *gradients, (n * area) ** 0.5
    return Case(about, run, arrays, usual, PLAIN if small else WINOGRAD)


def drawn_window(rng, image, kernel, *, stride=4, dilation=3, padding=6) -> Window:
    """A window of random geometry up to those limits: int, pair, "same" or lopsided padding."""

    def pair(low, high):
        return tuple(int(v) for v in rng.integers(low, high + 1, 2))

    while True:
        size, taps = pair(*image), pair(*kernel)
        strides = pair(1, stride)
        dilations = pair(1, dilation) if rng.random() < 0.4 else (1, 1)
        kind = rng.choice(["same", "int", "pair", "lopsided"])
        if kind == "lopsided":
            pads = pair(0, padding), pair(0, padding)
            spans = [d * (k - 1) + 1 for d, k in zip(dilations, taps, strict=True)]
            out = tuple(
                (n + sum(p) - span) // s + 1
                for n, p, span, s in zip(size, pads, spans, strides, strict=True)
            )
            if min(out) < 1:
                continue
            return Window(size, taps, strides, dilations, pads, out)
        pad = {"same": "same", "int": pair(0, padding)[0], "pair": pair(0, padding)}[kind]
        try:
            return Window.over(size, taps, stride=strides, padding=pad, dilation=dilations)
        except ValueError:  # the window does not fit the image: draw again
            continue


def integers(rng, *ranges) -> list[int]:
    return [int(rng.integers(low, high + 1)) for low, high in ranges]


AWKWARD = [  # image, kernel, settings
    ((1, 1), (1, 1), {}),
    ((1, 1), (3, 3), {"padding": 1}),
    ((1, 1), (5, 5), {"padding": "same"}),
    ((1, 7), (3, 3), {"padding": "same", "stride": 2}),
    ((2, 2), (3, 3), {"padding": 1, "stride": 5}),
    ((9, 9), (2, 2), {"stride": 4}),  # pixels between the windows, seen by none
    ((9, 8), (1, 3), {"stride": 3}),
    ((10, 7), (4, 4), {"stride": 3}),  # windows that do not divide
    ((11, 6), (5, 2), {"stride": (2, 4), "padding": (2, 1)}),
    ((3, 3), (2, 2), {"padding": 5}),  # windows that see nothing but padding
    ((3, 4), (3, 3), {"padding": 7}),
    ((4, 4), (2, 2), {"padding": 4, "stride": 3}),
    ((9, 11), (3, 3), {"dilation": 4, "padding": 4}),
    ((9, 11), (3, 2), {"dilation": (2, 3), "stride": (3, 2), "padding": (1, 0)}),
    ((6, 6), (6, 6), {}),  # the window is the image
]


def matmul(rng, a, b) -> Case:
    """a and b are shapes."""
    arrays = [normal(rng, *a), normal(rng, *b)]
    return Case(f"matmul {a} @ {b}", lambda k, *ab: [k.matmul(*ab)], arrays, (a[-1] ** 0.5,))


def linear(rng, n, k, m) -> Case:
    arrays = [normal(rng, n, k), normal(rng, k, m), normal(rng, m)]
    run = lambda kernels, *arrays: [kernels.linear(*arrays), kernels.linear(*arrays[:2], None)]
    return Case(f"linear ({n}, {k}) @ ({k}, {m})", run, arrays, (k**0.5,) * 2)


def matmul_t(rng, n, k, m) -> Case:
    arrays = [normal(rng, n, k), normal(rng, n, m)]
    about = f"matmul_t ({n}, {k})ᵀ @ ({n}, {m})"
    return Case(about, lambda k, *ab: [k.matmul_t(*ab)], arrays, (n**0.5,))


def sum_rows(rng, *shape) -> Case:
    arrays = [normal(rng, *shape)]
    usual = (math.prod(shape[:-1]) ** 0.5,)
    return Case(f"sum_rows {shape}", lambda k, a: [k.sum_rows(a)], arrays, usual)


def sum_blocks(rng, n, height, width, channels, scale) -> Case:
    arrays = [normal(rng, n, height * scale, width * scale, channels)]
    about = f"sum_blocks {arrays[0].shape} scale={scale}"
    return Case(about, lambda k, g: [k.sum_blocks(g, scale)], arrays, (float(scale),))


def max_pool(rng, n, channels, window: Window) -> Case:
    """Of few different numbers, so that many windows hold their maximum twice."""
    x = rng.integers(-3, 4, (n, *window.image, channels)).astype(np.float32)
    arrays = [x, normal(rng, n, *window.out, channels)]

    def run(k, x, g):
        y, switches = k.max_pool(x, window)
        return y, k.max_pool_grad(g, switches, window)

    overlap = math.prod(window.kernel) ** 0.5
    return Case(f"max_pool n={n} channels={channels} {window}", run, arrays, (0.0, overlap))


def relu(rng, *shape) -> Case:
    arrays = [normal(rng, *shape), normal(rng, *shape)]
    run = lambda k, x, g: (k.relu(x), k.relu_grad(g, x))
    return Case(f"relu {shape}", run, arrays, (0.0,) * 2)


def silu(rng, *shape) -> Case:
    arrays = [3 * normal(rng, *shape), 1 + normal(rng, *shape)]
    run = lambda k, x, g: (k.silu(x), k.silu_grad(g, x))
    return Case(f"silu {shape}", run, arrays, (0.0,) * 2)


def gelu(rng, *shape) -> Case:
    arrays = [2 * normal(rng, *shape), 1 + normal(rng, *shape)]
    run = lambda k, x, g: (k.gelu(x), k.gelu_grad(g, x))
    return Case(f"gelu {shape}", run, arrays, (0.0,) * 2)


def attention(rng, lead, t, s, d, e, mask=None) -> Case:
    """mask: none, or its leading axes, each as in ``lead`` or 1; −∞ bars some keys."""
    arrays = [normal(rng, *lead, *shape) for shape in ((t, d), (s, d), (s, e), (t, e))]
    if mask is not None:
        barred = rng.random((*mask, t, s)) < 0.3
        barred[..., 0] = False
        arrays.append(np.where(barred, -np.inf, normal(rng, *mask, t, s)).astype(np.float32))

    def run(k, q, key, v, g, mask=None):
        y, saved = k.attention(q, key, v, mask, d**-0.5)
        out = [np.empty_like(a) for a in (q, key, v)]
        gmask = k.attention_grad(g, q, key, v, mask, saved, d**-0.5, out)
        return y, *out, *([] if mask is None else [gmask])

    about = f"attention lead={lead} t={t} s={s} d={d} e={e} mask={mask}"
    return Case(about, run, arrays, (0.0,) * (4 if mask is None else 5))


def group_norm(rng, n, pixels, channels, groups, silu=False, mean=0.5) -> Case:
    arrays = [
        2 * normal(rng, n, pixels, channels) + np.float32(mean),
        normal(rng, channels),
        normal(rng, channels),
        normal(rng, n, pixels, channels) + np.float32(0.2),
    ]

    def run(k, x, weight, bias, g):
        y, saved, mean, variance = k.group_norm(x, weight, bias, groups, 1e-5, silu)
        return y, mean, variance, *k.group_norm_grad(g, saved, weight)

    about = f"group_norm {n, pixels, channels} groups={groups} silu={silu}"
    summed = (n * pixels) ** 0.5  # the gradients of weight and bias
    return Case(about, run, arrays, (0.0, 0.0, 0.0, 0.0, summed, summed))


def large_cases(rng) -> list[Case]:
    """Every kernel on enough elements for several workers and several chunks."""
    same = {"padding": "same"}
    return [
        conv(rng, 7, 24, 32, Window.over((20, 17), (3, 3), padding=1)),
        conv(rng, 7, 72, 160, Window.over((8, 7), (3, 3), padding=1)),  # more channels than tiles
        conv(rng, 7, 32, 3, Window.over((20, 17), (3, 3), padding=1)),
        conv(rng, 7, 3, 40, Window.over((20, 17), (3, 3), stride=(1, 2), padding=1)),
        conv(rng, 7, 13, 9, Window.over((20, 17), (3, 2), dilation=2, **same)),
        conv(rng, 7, 20, 24, Window.over((20, 18), (4, 4), stride=2, padding=1)),
        conv(rng, 7, 20, 24, Window.over((31, 28), (2, 3), stride=3), bias=False),
        conv(rng, 7, 32, 48, Window.over((16, 16), (1, 1))),
        conv(rng, 3, 12, 16, Window.over((16, 16), (3, 3), groups=4, **same)),
        matmul(rng, (2003, 40), (40, 50)),
        matmul(rng, (5, 3, 90, 40), (5, 3, 40, 50)),
        matmul_t(rng, 1501, 60, 50),
        linear(rng, 1501, 60, 50),
        sum_rows(rng, 7, 30, 10, 40),
        sum_blocks(rng, 7, 13, 12, 24, 2),
        max_pool(rng, 7, 24, Window.over((20, 17), (2, 2), stride=2)),
        max_pool(rng, 7, 24, Window.over((20, 17), (3, 2), stride=(2, 1), padding=1)),
        relu(rng, 3, 65537),
        silu(rng, 3, 65537),
        gelu(rng, 3, 65537),
        attention(rng, (7, 2), 70, 50, 24, 16),
        attention(rng, (5,), 120, 140, 8, 8, mask=(1,)),
        group_norm(rng, 7, 300, 48, 8),
        group_norm(rng, 7, 300, 48, 8, silu=True),
        group_norm(rng, 700, 1, 450, 1),
        group_norm(rng, 3, 12_000, 16, 4, silu=True),  # images in bands
        group_norm(rng, 1, 40_000, 20, 20, silu=True),  # all in one image, as in batch norm
    ]


def normal(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def results(case: Case, arrays=None, module=kernels) -> list[np.ndarray]:
    """What the case returns on arrays that nobody can write to."""
    arrays = case.arrays if arrays is None else arrays
    frozen = [a.view() for a in arrays]
    for a in frozen:
        a.flags.writeable = False
    return list(case.run(module, *frozen))


def expected(case: Case, arrays=None) -> list[np.ndarray]:
    """The same from the plain kernels in float64."""
    arrays = case.arrays if arrays is None else arrays
    return results(case, [a.astype(np.float64, order="C") for a in arrays], plain)


def check(case: Case, arrays=None, slack=1) -> None:
    """The results of the kernels are float32, and the plain kernels' up to rounding."""
    arrays = case.arrays if arrays is None else arrays
    before = [a.copy() for a in arrays]
    got, wanted = results(case, arrays), expected(case, arrays)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b, f"{case.about}: an input changed")
    check_close(case, got, wanted, slack)


def check_close(case: Case, got, wanted, slack=1) -> None:
    for i, (a, b, usual) in enumerate(zip(got, wanted, case.usual, strict=True)):
        name = f"{case.about}: result {i}"
        assert a.shape == b.shape and a.dtype == np.float32, f"{name}: {a.shape} {a.dtype}"
        error, size = np.abs(a - b).max(initial=0), np.abs(b).max(initial=usual)
        allowed = slack * case.tolerance * size
        assert error <= allowed, f"{name}: off by {error:.3g}, allowed {allowed:.3g}"
