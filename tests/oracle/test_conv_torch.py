"""conv2d and conv_transpose2d against PyTorch: hundreds of random geometries, values, gradients.

Each case is drawn from its number alone, so that a failing one can be run again by its name.
float64 runs the plain kernels, float32 whichever kernel is chosen for the shape.
"""

import dataclasses

import numpy as np
import pytest

from tinydiff import Tensor, ops
from tinydiff.backend import to_numpy
from tinydiff.interop import from_torch, to_torch

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small pictures: more would wait for each other
F = torch.nn.functional
pytestmark = pytest.mark.oracle

COUNT = 260
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}  # relative to the largest value


@dataclasses.dataclass
class Case:
    """One convolution from (n, h, w, c) to o channels, or its transpose from o to c."""

    n: int
    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int] | str
    groups: int
    channels: int  # per group
    filters: int  # per group
    bias: bool
    strided: bool  # inputs that are not contiguous
    extra: tuple[int, int]  # output_padding

    @property
    def spans(self):
        return [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]


def draw(number: int) -> Case:
    rng = np.random.default_rng(number)

    def pair(low, high):
        one = int(rng.integers(low, high))
        return (one, one) if rng.random() < 0.4 else (one, int(rng.integers(low, high)))

    wide = number % 5 == 0  # enough channels for the fast kernels
    kernel = (3, 3) if wide and number % 10 else pair(1, 6)
    stride = (1, 1) if wide and number % 3 else pair(1, 5)
    dilation = (1, 1) if wide or rng.random() < 0.5 else pair(1, 4)
    padding = "same" if rng.random() < 0.25 else pair(0, 4)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    pads = (0, 0) if padding == "same" else padding
    least = [max(span - 2 * p, 1) for span, p in zip(spans, pads, strict=True)]
    image = tuple(m + int(rng.integers(0, 12)) for m in least)
    image = least if rng.random() < 0.1 else image  # the window fits exactly once
    channels = int(rng.integers(16, 35)) if wide else int(rng.integers(1, 6))
    filters = int(rng.integers(16, 35)) if wide else int(rng.integers(1, 6))
    extra = [int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True)]
    return Case(
        n=int(rng.integers(1, 4)),
        image=tuple(image),
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        groups=1 if wide else int(rng.choice([1, 1, 2, 3])),
        channels=channels,
        filters=filters,
        bias=bool(rng.random() < 0.7),
        strided=bool(rng.random() < 0.3),
        extra=(0, 0) if padding == "same" or rng.random() < 0.5 else tuple(extra),
    )


CASES = [draw(number) for number in range(COUNT)]


def same_pads(sizes, case) -> list[tuple[int, int]]:
    """(before, after) so that out = ⌈in / stride⌉, the odd pixel after: TensorFlow's rule."""
    totals = [
        max((-(-n // s) - 1) * s + span - n, 0)
        for n, s, span in zip(sizes, case.stride, case.spans, strict=True)
    ]
    return [(t // 2, t - t // 2) for t in totals]


def inputs(case, shapes, dtype, seed):
    """Random arrays in our layout; with case.strided, in PyTorch's memory order."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    if case.strided:
        arrays = [np.asfortranarray(a) for a in arrays]
    return arrays


def compare(ours, theirs, kinds, arrays, dtype, seed):
    """Values and all gradients, for a random gradient of the value."""
    mine = [Tensor(a, requires_grad=True) for a in arrays]
    other = [
        torch.tensor(to_torch(a, kind) if kind else a, requires_grad=True)
        for a, kind in zip(arrays, kinds, strict=True)
    ]
    y, z = ours(*mine), theirs(*other)
    assert y.dtype == dtype
    g = np.random.default_rng(seed + 1).standard_normal(y.shape).astype(dtype)
    y.backward(g)
    found = [y.data, *[t.grad for t in mine]]
    grads = torch.autograd.grad(z, other, torch.tensor(to_torch(g, "image")))
    for a, t, kind in zip(found, [z, *grads], ["image", *kinds], strict=True):
        expected = t.detach().numpy()
        expected = from_torch(expected, kind) if kind else expected
        assert a.dtype == dtype
        assert a.shape == expected.shape
        error = np.abs(to_numpy(a) - expected).max()
        assert error <= TOLERANCE[dtype] * max(1, np.abs(expected).max())


def test_the_cases_cover_what_they_should():
    def count(holds):
        return sum(map(holds, CASES))

    assert count(lambda c: c.image[0] != c.image[1]) > 150
    assert count(lambda c: max(c.stride) > 1) > 100
    assert count(lambda c: any(s > k for s, k in zip(c.stride, c.kernel, strict=True))) > 50
    assert count(lambda c: max(c.dilation) > 1) > 50
    assert count(lambda c: c.groups > 1) > 50
    assert count(lambda c: c.padding == "same") > 40
    assert count(lambda c: c.padding == "same" and max(c.stride) > 1) > 20
    assert count(lambda c: max(c.extra) > 0) > 50
    assert count(lambda c: min(c.image) == 1) > 5
    left_over = [
        (n + 2 * p - span) % s
        for c in CASES
        if c.padding != "same"
        for n, p, span, s in zip(c.image, c.padding, c.spans, c.stride, strict=True)
    ]
    assert np.count_nonzero(left_over) > 50


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("number", range(COUNT))
def test_conv2d(number, dtype):
    case = CASES[number]
    shapes = [
        (case.n, *case.image, case.channels * case.groups),
        (*case.kernel, case.channels, case.filters * case.groups),
        (case.filters * case.groups,),
    ][: 3 if case.bias else 2]
    settings = {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}

    def theirs(x, weight, bias=None):
        padding = case.padding
        if padding == "same" and max(case.stride) > 1:  # PyTorch refuses
            rows, columns = same_pads(case.image, case)
            x, padding = F.pad(x, (*columns, *rows)), 0
        return F.conv2d(x, weight, bias, padding=padding, **settings)

    compare(
        lambda x, *wb: ops.conv2d(x, *wb, padding=case.padding, **settings),
        theirs,
        ["image", "conv", None][: len(shapes)],
        inputs(case, shapes, dtype, number),
        dtype,
        number,
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("number", range(COUNT))
def test_conv_transpose2d(number, dtype):
    case = CASES[number]
    sizes = case.image if case.padding == "same" else tuple(n // 2 + 3 for n in case.image)
    padding = case.padding
    if padding != "same":  # less than would eat the picture up
        padding = tuple(min(p, span // 2) for p, span in zip(padding, case.spans, strict=True))
    shapes = [
        (case.n, *sizes, case.filters * case.groups),
        (*case.kernel, case.filters * case.groups, case.channels),
        (case.channels * case.groups,),
    ][: 3 if case.bias else 2]
    settings = {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}

    def theirs(y, weight, bias=None):
        if padding != "same":
            return F.conv_transpose2d(
                y, weight, bias, padding=padding, output_padding=case.extra, **settings
            )
        wanted = [n * s for n, s in zip(sizes, case.stride, strict=True)]
        pads = same_pads(wanted, case)
        x = F.conv_transpose2d(y, weight, **settings)
        # Cut what "same" pads; where the stride exceeds the kernel, some rows see no window.
        (top, left), (h, w) = [before for before, _ in pads], x.shape[2:]
        x = F.pad(x, (-left, wanted[1] - (w - left), -top, wanted[0] - (h - top)))
        return x if bias is None else x + bias[:, None, None]

    compare(
        lambda y, *wb: ops.conv_transpose2d(
            y, *wb, padding=padding, output_padding=case.extra, **settings
        ),
        theirs,
        ["image", "conv_transpose", None][: len(shapes)],
        inputs(case, shapes, dtype, number),
        dtype,
        number,
    )


@pytest.mark.parametrize("op", [ops.conv2d, ops.conv_transpose2d])
def test_an_empty_batch_is_refused(op):
    with pytest.raises(ValueError, match="empty"):
        op(Tensor(np.zeros((0, 4, 4, 2))), Tensor(np.zeros((3, 3, 2, 2))))


def test_the_lectures_shapes():
    """100×100×64 to 50×50×128 with stride 2 "same", and back."""
    x = Tensor(np.zeros((1, 100, 100, 64), np.float32))
    down = ops.conv2d(x, np.zeros((3, 3, 64, 128)), stride=2, padding="same")
    assert down.shape == (1, 50, 50, 128)
    up = ops.conv_transpose2d(down, np.zeros((3, 3, 128, 64)), stride=2, padding="same")
    assert up.shape == (1, 100, 100, 64)
