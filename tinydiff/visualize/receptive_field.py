"""Receptive fields: which pixels of the picture can a neuron see?

Along each axis neuron i of a map sees the ``size`` pixels from jump·i + start on; a pixel of the
picture sees itself, size 1, jump 1, start 0.  A window of kernel k, stride s, padding p and
dilation d, laid over neurons of field (size, jump, start), makes

    size'  = size + d(k − 1)·jump
    jump'  = s·jump
    start' = start − p·jump

Where two ways meet, as in a residual block, the field is the smallest that holds both.

Source: A. Araujo et al., "Computing Receptive Fields of Convolutional Neural Networks", Distill,
2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinydiff.backend import asarray
from tinydiff.graph import Node
from tinydiff.kernels.window import Window
from tinydiff.nn import AvgPool2d, Conv2d, MaxPool2d, Module, frozen, watching
from tinydiff.tensor import Tensor, node_of
from tinydiff.visualize.filters import convolutions
from tinydiff.visualize.gradient import input_of
from tinydiff.visualize.target import layer_named


@dataclass(frozen=True)
class ReceptiveField:
    """Of the neurons of a map; all pairs, (vertical, horizontal), in pixels of the picture.

    Neuron (i, j) sees rows jump·i + start … jump·i + start + size − 1, and columns likewise, as far
    as there are any: padding lies outside.
    """

    size: tuple[int, int] = (1, 1)
    jump: tuple[int, int] = (1, 1)
    start: tuple[int, int] = (0, 0)

    def through(self, window: Window) -> ReceptiveField:
        """Of the neurons that see these through a window."""
        spans = [d * (k - 1) for d, k in zip(window.dilation, window.kernel, strict=True)]
        lows = [low for low, _ in window.padding]
        axes = (0, 1)
        return ReceptiveField(
            tuple(self.size[a] + spans[a] * self.jump[a] for a in axes),
            tuple(self.jump[a] * window.stride[a] for a in axes),
            tuple(self.start[a] - lows[a] * self.jump[a] for a in axes),
        )

    def of(self, place: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns that the neuron at this place sees; they may leave the picture."""
        starts = [j * int(i) + s for i, j, s in zip(place, self.jump, self.start, strict=True)]
        rows, columns = (slice(s, s + n) for s, n in zip(starts, self.size, strict=True))
        return rows, columns

    def crop(self, image: np.ndarray, place: tuple[int, int]) -> np.ndarray:
        """What of an image (H, W, C) that neuron sees, (*size, C); middle grey outside of it."""
        grey = 128 if image.dtype == np.uint8 else 0
        patch = np.full((*self.size, image.shape[2]), grey, image.dtype)
        ends = list(zip(self.of(place), image.shape[:2], strict=True))
        inside = [slice(max(s.start, 0), min(s.stop, n)) for s, n in ends]
        where = [
            slice(i.start - s.start, i.stop - s.start)
            for i, (s, _) in zip(inside, ends, strict=True)
        ]
        patch[tuple(where)] = image[tuple(inside)]
        return patch


@dataclass(frozen=True)
class _Map:
    """An answer in the graph: how many pixels it has, and what they see, None where unknown."""

    pixels: tuple[int, int]
    field: ReceptiveField | None


def receptive_field(model: Module, layer: str, images: np.ndarray) -> ReceptiveField:
    """The field of the layer's neurons, worked out from the modules between it and the picture.

    images  pictures that the model takes (N, H, W, C); "same" padding depends on their size

    Convolutions and poolings are windows.  Everything else that keeps the resolution is taken to
    go pixel by pixel, norms too: through their statistics alone, a neuron sees more.
    Raises ValueError for a layer that does not exist or is not called, and for one whose answer is
    no map of which that can be said (after a mean over all pixels, say).
    """
    wanted = layer_named(model, layer)
    x = Tensor(asarray(input_of(model, images[:1])), requires_grad=True)
    maps = {node_of(x): _Map(x.shape[1:3], ReceptiveField())}
    seen: list[ReceptiveField | None] = []

    def note(module: Module, answer) -> None:
        if isinstance(answer, Tensor) and answer.requires_grad:
            node = node_of(answer)
            if node not in maps:
                maps[node] = _look(module, answer, [maps[n] for n in _behind(node, maps)])
            if module is wanted:
                seen.append(maps[node].field)

    with watching(note), frozen(model):
        model(x)
    if not seen or seen[-1] is None:
        raise ValueError(
            f"layer {layer!r}: its receptive field is not known; it must answer with maps "
            "(N, h, w, C), and only convolutions and poolings before it may change the resolution"
        )
    return seen[-1]


def deepest_within(model: Module, images: np.ndarray, pixels: float) -> str:
    """The last convolution whose neurons see at most so many pixels a side of pictures like these;
    the first, if all see more.  Raises ValueError for a model without convolutions."""
    deepest, *others = convolutions(model)
    for layer in others:
        if max(receptive_field(model, layer, images).size) <= pixels:
            deepest = layer
    return deepest


def _behind(node: Node, maps: dict[Node, _Map]) -> set[Node]:
    """The nearest answers of modules that this one was computed from."""
    found, stack, visited = set(), list(node.inputs), {node}
    while stack:
        source = stack.pop()
        if source in maps:
            found.add(source)
        elif source not in visited:
            visited.add(source)
            stack.extend(source.inputs)
    return found


def _look(module: Module, answer: Tensor, sources: Sequence[_Map]) -> _Map:
    """What an answer sees that was computed from the sources, by a module that is one window, by
    one that goes pixel by pixel, or by one that puts together what others inside it answered."""
    pixels = tuple(answer.shape[1:3])
    known = answer.ndim == 4 and len({s.pixels for s in sources}) == 1
    if not known or any(s.field is None for s in sources):
        return _Map(pixels, None)
    field = _union([s.field for s in sources])
    window = _window(module, sources[0].pixels)
    if window is not None and field is not None:
        field = field.through(window)
    fits = pixels == (sources[0].pixels if window is None else window.out)
    return _Map(pixels, field if fits else None)


def _window(module: Module, pixels: tuple[int, int]) -> Window | None:
    if isinstance(module, Conv2d):
        kernel, stride, dilation = module.weight.shape[:2], module.stride, module.dilation
    elif isinstance(module, (MaxPool2d, AvgPool2d)):
        kernel, dilation = module.kernel_size, 1
        stride = kernel if module.stride is None else module.stride
    else:
        return None
    return Window.over(pixels, kernel, stride=stride, padding=module.padding, dilation=dilation)


def _union(fields: Sequence[ReceptiveField]) -> ReceptiveField | None:
    """The smallest that holds them all; None if they do not move alike."""
    if len({field.jump for field in fields}) != 1:
        return None
    axes = (0, 1)
    starts = [min(f.start[a] for f in fields) for a in axes]
    ends = [max(f.start[a] + f.size[a] for f in fields) for a in axes]
    sizes = tuple(end - start for start, end in zip(starts, ends, strict=True))
    return ReceptiveField(sizes, fields[0].jump, tuple(starts))
