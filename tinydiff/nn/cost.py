"""The work of a network: how often does it multiply a weight with a number, and add?

    linear       each number it returns is a sum of ``in`` products
    convolution  at each of H'·W' places, every weight (kh, kw, C/groups, O) once
    transposed   the same, places and pixels having changed sides

Products with padding are counted, though fast kernels may save them (and Winograd saves others).
Not counted are norms, activations and the products of attention, which has no weights there.  In
FLOPs it is twice as much.
"""

from __future__ import annotations

import math

from tinydiff.kernels.window import Window, pair
from tinydiff.nn.conv import Conv2d, ConvTranspose2d
from tinydiff.nn.linear import Linear
from tinydiff.nn.watch import try_out


def multiply_adds(model, *inputs, **settings) -> int:
    """How many products with weights ``model(*inputs)`` sums up, all images of a batch together.

    Runs the model once, in evaluation mode and without a graph.  Weights of other layers than
    Linear, Conv2d and ConvTranspose2d do not count.
    """
    total = 0

    def count(module, output) -> None:
        nonlocal total
        if isinstance(module, (Linear, Conv2d)):
            total += output.size // module.weight.shape[-1] * module.weight.size
        elif isinstance(module, ConvTranspose2d):
            total += len(output.data) * _places(module, output.shape[1:3]) * module.weight.size

    try_out(model, count, inputs, settings)
    return total


def _places(layer: ConvTranspose2d, image: tuple[int, int]) -> int:
    """Pixels of its input: the places of the convolution over its output that it mirrors."""
    extra = pair(layer.output_padding, "output_padding", 0)
    image = tuple(n - e for n, e in zip(image, extra, strict=True))
    settings = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    return math.prod(Window.over(image, layer.weight.shape[:2], **settings).out)
