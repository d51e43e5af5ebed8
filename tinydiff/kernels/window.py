"""Where a sliding window looks: the geometry shared by convolution and pooling.

Output pixel (i, j) and tap (a, b) of the window meet at the input pixel

    (i·s + a·d − p,  j·s + b·d − p)        stride s, dilation d, padding p, per axis.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from numbers import Integral

Pair = int | tuple[int, int]


def pair(value: Pair, name: str, least: int) -> tuple[int, int]:
    """An int or a pair of them as a pair, checked against its smallest legal value."""
    if type(value) is int and value >= least:  # as nearly always
        return value, value
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or any(not isinstance(v, Integral) or v < least for v in both):
        raise ValueError(f"{name} is {value!r}, expected an int ≥ {least} or a pair of them")
    return int(both[0]), int(both[1])


@dataclasses.dataclass(frozen=True)
class Window:
    """The geometry of one convolution or pooling, worked out once.

    image    (H, W) of the input             kernel    (kh, kw)
    stride, dilation  (vertical, horizontal) padding   ((top, bottom), (left, right))
    out      (H', W') of the output          groups    number of channel groups
    """

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    out: tuple[int, int]
    groups: int = 1

    @classmethod
    def over(
        cls,
        image,
        kernel,
        *,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups=1,
    ) -> Window:
        """The window of a convolution: padding an int, a pair, or "same" (out = ⌈in / stride⌉).

        "same" puts the odd pixel of padding at the end, as Keras and PyTorch do.
        """
        stride, dilation = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
        if not isinstance(padding, str):
            padding = pair(padding, "padding", 0)
        return cls._over(tuple(image), tuple(kernel), stride, padding, dilation, groups)

    @classmethod
    @functools.lru_cache(maxsize=1 << 10)  # a network asks for the same ones at every step
    def _over(cls, image, kernel, stride, padding, dilation, groups) -> Window:
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        if padding == "same":
            totals = [
                max((-(-n // s) - 1) * s + span - n, 0)
                for n, s, span in zip(image, stride, spans, strict=True)
            ]
            padding = tuple((t // 2, t - t // 2) for t in totals)
        elif isinstance(padding, str):
            raise ValueError(f'padding is {padding!r}, expected an int, a pair or "same"')
        else:
            padding = tuple((p, p) for p in padding)
        out = tuple(
            (n + sum(p) - span) // s + 1
            for n, p, span, s in zip(image, padding, spans, stride, strict=True)
        )
        if min(out) < 1:
            raise ValueError(
                f"a window of {kernel} (dilation {dilation}, padding {padding}) "
                f"does not fit an image of {image}"
            )
        return cls(image, kernel, stride, dilation, padding, out, groups)

    @functools.cached_property
    def padded(self) -> tuple[int, int]:
        """(H, W) of the input with its padding."""
        return tuple(n + sum(p) for n, p in zip(self.image, self.padding, strict=True))

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The index of the input inside the padded input (N, H, W, C)."""
        (top, _), (left, _) = self.padding
        return slice(None), slice(top, top + self.image[0]), slice(left, left + self.image[1])

    @functools.cached_property
    def backwards(self) -> Window:
        """The window of the input gradient, with stride 1: over g, the kernel turned by 180°.

        Its padding is negative where this one's is wider than the kernel.
        """
        spans = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        padding = tuple(
            (s - low, s - high) for s, (low, high) in zip(spans, self.padding, strict=True)
        )
        return dataclasses.replace(self, image=self.out, out=self.image, padding=padding)

    def taps(self) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
        """For each tap (a, b), the index of the padded input that gives all outputs their pixel."""
        rows, columns = (
            [self._slice(axis, a) for a in range(self.kernel[axis])] for axis in (0, 1)
        )
        for a, row in enumerate(rows):
            for b, column in enumerate(columns):
                yield a, b, (slice(None), row, column)

    def _slice(self, axis: int, tap: int) -> slice:
        start, step = tap * self.dilation[axis], self.stride[axis]
        return slice(start, start + (self.out[axis] - 1) * step + 1, step)
