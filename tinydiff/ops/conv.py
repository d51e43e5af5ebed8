"""Convolution and transposed convolution, channels last.

The two are each other's input gradient, and share their weight gradient: the three faces of the
trilinear form in `tinydiff.kernels.plain`.
"""

import dataclasses

from tinydiff import kernels
from tinydiff.kernels.window import Window, pair
from tinydiff.tensor import op


@op
def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """y[n,i,j,o] = Σ_abc x[n, i·s + a·d − p, j·s + b·d − p, c] · weight[a,b,c,o] + bias[o]

    x (N, H, W, C), weight (kh, kw, C/groups, O), bias (O,) → (N, H', W', O).
    padding: int, pair, or "same" (H' = ⌈H / stride⌉).
    """
    _check("conv2d", x, weight, bias, groups, lambda w: w[2] * groups, lambda w: w[3])
    window = Window.over(
        x.shape[1:3],
        weight.shape[:2],
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )

    def gradients(needed):
        seen = x if needed[1] else None  # whoever learns no weight does without the picture
        return lambda g: kernels.conv2d_grads(seen, g, weight, window, needed)

    return kernels.conv2d(x, weight, bias, window), gradients


@op
def conv_transpose2d(
    y, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1
):
    """The input gradient of conv2d, used forwards: conv2d is in turn its input gradient.

    y (N, H', W', C), weight (kh, kw, C, O/groups), bias (O,) → (N, H, W, O) with
    H = (H' − 1)·stride − 2·padding + dilation·(kh − 1) + 1 + output_padding,
    or H = H'·stride for padding="same".
    """
    _check("conv_transpose2d", y, weight, bias, groups, lambda w: w[2], lambda w: w[3] * groups)
    strides, dilations = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    extra = pair(output_padding, "output_padding", 0)
    if isinstance(padding, str):
        if padding != "same":
            raise ValueError(f'conv_transpose2d: padding is {padding!r}, expected "same" or ints')
        if extra != (0, 0):
            raise ValueError('conv_transpose2d: padding="same" fixes the size; no output_padding')
        image = [n * s for n, s in zip(y.shape[1:3], strides, strict=True)]
    else:
        pads = pair(padding, "padding", 0)
        if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
            raise ValueError(
                f"conv_transpose2d: output_padding {extra} must be smaller than "
                f"stride {strides} or dilation {dilations}"
            )
        image = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + e
            for n, s, p, d, k, e in zip(
                y.shape[1:3], strides, pads, dilations, weight.shape[:2], extra, strict=True
            )
        ]
        if min(image) < 1:
            raise ValueError(f"conv_transpose2d: the output would have size {tuple(image)}")
    window = Window.over(
        image, weight.shape[:2], stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    # A large output_padding leaves room for one more position, which y does not have.
    window = dataclasses.replace(window, out=y.shape[1:3])
    # Seen from the convolution, our output channels are its input channels.
    mirrored = weight.swapaxes(2, 3)
    x = kernels.conv2d_input_grad(y, mirrored, window)
    if bias is not None:
        x += bias
    return x, (
        lambda g: kernels.conv2d(g, mirrored, None, window),
        lambda g: kernels.conv2d_weight_grad(g, y, window).swapaxes(2, 3),
        lambda g: kernels.sum_rows(g),
    )


def _check(name, x, weight, bias, groups, channels, filters):
    """One look at the door: do image, weight and bias fit each other?"""
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            f"{name}: expected an image (N, H, W, C) and a weight (kh, kw, in, out), "
            f"got shapes {x.shape} and {weight.shape}"
        )
    if 0 in x.shape or 0 in weight.shape:
        raise ValueError(f"{name}: image {x.shape} and weight {weight.shape} must not be empty")
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(f"{name}: groups is {groups!r}, expected an int ≥ 1")
    c, o = channels(weight.shape), filters(weight.shape)
    if x.shape[3] != c:
        raise ValueError(
            f"{name}: the image {x.shape} has {x.shape[3]} channels, "
            f"the weight {weight.shape} with groups={groups} takes {c}"
        )
    if c % groups or o % groups:
        raise ValueError(f"{name}: groups={groups} does not divide {c} and {o} channels")
    if bias is not None and bias.shape != (o,):
        raise ValueError(f"{name}: bias has shape {bias.shape}, expected ({o},)")
