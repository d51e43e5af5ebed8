"""ReLU after a convolution, and the pooling after that, where the weights do not learn.

    pool(relu(conv(x))) = relu(pool(conv(x)))         the largest of each window, cut off at zero

The convolution's answer is of use to nobody but the ReLU, which writes into its memory; and behind
a pooling of 2×2 pixels, a ReLU and the way back through it have a quarter of the numbers to look
at.  Neither can be told from the result.  An attack does little else, so it is there that this
pays: a network that learns keeps the order in which it is written, and so does one that somebody
watches.
"""

from __future__ import annotations

from tinydiff import ops
from tinydiff.kernels.window import pair
from tinydiff.nn.activation import ReLU
from tinydiff.nn.conv import Conv2d
from tinydiff.nn.module import Module
from tinydiff.nn.pooling import MaxPool2d
from tinydiff.nn.watch import being_watched


def rectified(conv: Module, relu: Module, x, pool: Module | None = None):
    """pool(relu(conv(x))), or relu(conv(x)) without a pool

    In one where they are a frozen `Conv2d`, a `ReLU` and a `MaxPool2d` of windows that lie apart;
    otherwise one after the other, whatever they are.
    """
    unseen = type(conv) is Conv2d and type(relu) is ReLU and not being_watched()
    if not unseen or any(p.requires_grad for p in conv.parameters()):
        x = relu(conv(x))
        return x if pool is None else pool(x)
    x = conv(x)
    if pool is None or not _apart(pool):
        x = ops.relu(x, in_place=True)
        return x if pool is None else pool(x)
    return ops.relu_max_pool2d(x, kernel=pool.kernel_size, stride=pool.stride)


def _apart(pool: Module) -> bool:
    """Is it a MaxPool2d without padding whose windows do not overlap?"""
    if type(pool) is not MaxPool2d or pool.padding not in (0, (0, 0)):
        return False
    stride = pool.kernel_size if pool.stride is None else pair(pool.stride, "stride", 1)
    return all(s >= k for s, k in zip(stride, pool.kernel_size, strict=True))
