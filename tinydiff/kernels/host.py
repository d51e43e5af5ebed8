"""The kernels on NumPy: in float32 the fastest for the shape, otherwise the plain one."""

import numpy as np

from tinydiff import backend
from tinydiff.kernels import (
    addition,
    again,
    col2im,
    fast,
    fast_activation,
    fast_attention,
    fast_layer_norm,
    fast_norm,
    fast_pool,
    few_channels,
    few_filters,
    frozen_norm,
    im2col,
    plain,
    update,
    winograd,
    winograd_deep,
)
from tinydiff.kernels.settings import FAST
from tinydiff.kernels.window import Window

_FAST = FAST and backend.name == "numpy"


def _fast(*arrays) -> bool:
    return _FAST and all(a is None or a.dtype == np.float32 for a in arrays)


softmax, dropout, sum_picked = plain.softmax, plain.dropout, plain.sum_picked
sgd, adam, move_towards = update.sgd, update.adam, update.move_towards
norm, shrink, Finite = update.norm, update.shrink, update.Finite
Recorder, is_capturing = again.Recorder, again.is_capturing


def _convolution(images: int, channels: int, filters: int, window: Window, *arrays, grads=False):
    """The module whose convolution is fastest for this shape."""
    if not _fast(*arrays):
        return plain
    if winograd_deep.suits(images, channels, filters, window, grads):
        return winograd_deep
    if winograd.suits(channels, filters, window):
        return winograd
    return im2col if im2col.suits(window) else plain


def conv2d(x, weight, bias, window):
    if few_filters.suits(*weight.shape[2:], window) and _fast(x, weight, bias):
        return few_filters.conv2d(x, weight, bias, window)
    if few_channels.suits(x.shape[3], window) and _fast(x, weight, bias):
        return few_channels.conv2d(x, weight, bias, window)
    kernel = _convolution(len(x), x.shape[3], weight.shape[3], window, x, weight, bias)
    return kernel.conv2d(x, weight, bias, window)


def conv2d_input_grad(g, weight, window):
    channels, filters = weight.shape[2:]
    if few_filters.suits(filters, channels, window) and _fast(g, weight):
        return few_filters.conv2d_input_grad(g, weight, window)
    if col2im.suits(channels, filters, window) and _fast(g, weight):
        return col2im.conv2d_input_grad(g, weight, window)
    kernel = _convolution(len(g), weight.shape[2], g.shape[3], window, g, weight)
    return kernel.conv2d_input_grad(g, weight, window)


def conv2d_weight_grad(x, g, window):
    if few_channels.suits(x.shape[3], window) and _fast(x, g):
        return few_channels.conv2d_weight_grad(x, g, window)
    kernel = _convolution(len(x), x.shape[3], g.shape[3], window, x, g, grads=True)
    return kernel.conv2d_weight_grad(x, g, window)


def conv2d_grads(x, g, weight, window, needed=(True, True, True)):
    """The gradients of input, weight and bias, None where not needed; they may share work.

    x is not looked at where the weight's is not needed.
    """
    channels, filters = weight.shape[2:]
    apart = (  # a far faster input gradient
        few_filters.suits(filters, channels, window) or col2im.suits(channels, filters, window)
    )
    if needed[0] and needed[1] and not apart:
        sizes = len(x), x.shape[3], g.shape[3]
        kernel = _convolution(*sizes, window, x, g, weight, grads=True)
        return kernel.conv2d_grads(x, g, weight, window)
    gx = conv2d_input_grad(g, weight, window) if needed[0] else None
    gw = conv2d_weight_grad(x, g, window) if needed[1] else None
    return gx, gw, sum_rows(g) if needed[2] else None


def add(a, b, out=None):
    """a + b by broadcasting, into ``out`` if given (it may be a)"""
    if _FAST and addition.suits(a, b):
        return addition.add(a, b, out)
    return a + b if out is None else backend.xp.add(a, b, out=out)


def concatenate(arrays, axis):
    """Arrays one after another along an axis"""
    if axis > 0 and _fast(*arrays):
        return addition.concatenate(arrays, axis)
    return backend.xp.concatenate(arrays, axis=axis)


def _either(module, name: str):
    """The module's kernel of that name where all its arrays are float32, else the plain one."""
    quick, simple = getattr(module, name), getattr(plain, name)

    def kernel(*args):
        for a in args:
            if isinstance(a, backend.xp.ndarray) and not _fast(a):
                return simple(*args)
        return quick(*args)

    kernel.__name__, kernel.__doc__ = name, simple.__doc__
    return kernel


matmul, linear, matmul_t, sum_rows = (
    _either(fast, name) for name in ("matmul", "linear", "matmul_t", "sum_rows")
)
sum_blocks = _either(addition, "sum_blocks")
relu, relu_grad, silu, silu_grad, gelu, gelu_grad = (
    _either(fast_activation, name)
    for name in ("relu", "relu_grad", "silu", "silu_grad", "gelu", "gelu_grad")
)
max_pool = _either(fast_pool, "max_pool")


def max_pool_grad(g, switches, window):
    return (fast_pool if _fast(g) else plain).max_pool_grad(g, switches, window)


def _normaliser(shape, groups: int, silu: bool):
    """The module whose group norm is fastest for this shape."""
    if fast_layer_norm.suits(shape, groups, silu):
        return fast_layer_norm
    return fast_norm if shape[1] > 1 else plain


def group_norm(x, weight, bias, groups, eps, silu=False, frozen=False):
    """`plain.group_norm`; frozen: of the gradients only that of x will be asked for"""
    module = _normaliser(x.shape, groups, silu) if _fast(x, weight, bias) else plain
    if frozen and silu and module is fast_norm:
        module = frozen_norm
    y, saved, mean, variance = module.group_norm(x, weight, bias, groups, eps, silu)
    return y, (module, saved), mean, variance


def group_norm_grad(g, saved, weight):
    module, saved = saved
    return module.group_norm_grad(g, saved, weight)


def attention(q, k, v, mask, scale):
    module = fast_attention if _fast(q, k, v, mask) and q.size else plain
    y, saved = module.attention(q, k, v, mask, scale)
    return y, (module, saved)


def attention_grad(g, q, k, v, mask, saved, scale, out):
    module, saved = saved
    return module.attention_grad(g, q, k, v, mask, saved, scale, out)
