"""The kernels where CuPy computes: short CUDA C ones and cuBLAS in float32 and float64.

Other dtypes, and arrays without elements, take the plain ones.
"""

import math

import cupy

from tinydiff import backend
from tinydiff.kernels import plain
from tinydiff.kernels.cuda import (
    activation,
    block_attention,
    embedding,
    im2col,
    image_norm,
    noise,
    product,
    row_norm,
    row_softmax,
    sums,
    winograd,
)
from tinydiff.kernels.cuda.graph import NotRepeatable, Recorder, is_capturing
from tinydiff.kernels.cuda.source import REAL
from tinydiff.kernels.cuda.update import Finite, adam, move_towards, norm, sgd, shrink
from tinydiff.kernels.plain import max_pool, max_pool_grad, relu, relu_grad


def _suits(*arrays) -> bool:
    return all(a is None or (a.dtype in REAL and a.size > 0) for a in arrays)


def _either(module, name: str):
    """The module's kernel of that name where it suits all its arrays, else the plain one."""
    quick, simple = getattr(module, name), getattr(plain, name)

    def kernel(*args):
        return (quick if _suits(*args) else simple)(*args)

    kernel.__name__, kernel.__doc__ = name, simple.__doc__
    return kernel


silu, silu_grad, gelu, gelu_grad = (
    _either(activation, name) for name in ("silu", "silu_grad", "gelu", "gelu_grad")
)
sum_rows = _either(sums, "sum_rows")
linear, matmul_t = _either(product, "linear"), _either(product, "matmul_t")


def matmul(a, b):
    """a @ b: (…, n, k) @ (…, k, m) → (…, n, m)"""
    batches = a.ndim in (2, 3, 4) and a.shape[:-2] == b.shape[:-2]
    module = product if batches and a.dtype == b.dtype and _suits(a, b) else plain
    return module.matmul(a, b)


# Tensor cores round the factors of float32 products to 10 bits (TF32), and Winograd's equations
# enlarge that: for 64 to 256 channels its results, values and gradients, are off by up to 2.7e-3 of
# the largest one (im2col's 3.4e-4), or 1.9e-3 root mean square (3e-4).  In full float32 these are
# 4e-6 (6e-7) and 2e-6 (3e-7).  False: always im2col, twice the memory traffic.
USE_WINOGRAD = True


def _convolution(images: int, channels: int, filters: int, window, *arrays):
    """The module that moves the least memory for a convolution of this shape.

    Both are bound by memory.  128 → 128 channels, 32×32, 128 images: 1.34 GB for im2col, 0.74 for
    Winograd, which also multiplies 4× less; but it has more to do for the filters, and for the rest
    of tiles that stick out of the image.
    """
    if not _suits(*arrays) or len({a.dtype for a in arrays if a is not None}) > 1:
        return plain
    modules = (winograd, im2col) if USE_WINOGRAD else (im2col,)
    shape = images, channels, filters, window
    suiting = [m for m in modules if m.suits(*shape[1:])]
    return min(suiting, key=lambda m: m.traffic(*shape), default=plain)


def conv2d(x, weight, bias, window):
    module = _convolution(len(x), *weight.shape[2:], window, x, weight, bias)
    return module.conv2d(x, weight, bias, window)


def conv2d_input_grad(g, weight, window):
    channels, filters = weight.shape[2:]
    module = _convolution(len(g), filters, channels, window.backwards, g, weight)
    return module.conv2d_input_grad(g, weight, window)


def conv2d_weight_grad(x, g, window):
    module = _convolution(len(x), x.shape[3], g.shape[3], window, x, g)
    return module.conv2d_weight_grad(x, g, window)


def group_norm(x, weight, bias, groups, eps, silu=False, frozen=False):
    module = plain
    if _suits(x, weight, bias):
        module = image_norm if x.shape[1] > 1 else row_norm
    y, saved, mean, variance = module.group_norm(x, weight, bias, groups, eps, silu)
    return y, (module, saved), mean, variance


def group_norm_grad(g, saved, weight):
    module, saved = saved
    return module.group_norm_grad(g, saved, weight)


def softmax(x, axis=-1):
    """eˣ / Σ eˣ along the axis"""
    if _suits(x) and axis in (-1, x.ndim - 1):
        return row_softmax.softmax(x)
    return plain.softmax(x, axis)


def attention(q, k, v, mask, scale):
    simple = mask is None or q.ndim <= 4  # the axes before the heads join, but not a mask's
    module = block_attention if simple and _suits(q, k, v, mask) else plain
    y, saved = module.attention(q, k, v, mask, scale)
    return y, (module, saved)


def attention_grad(g, q, k, v, mask, saved, scale, out):
    module, saved = saved
    return module.attention_grad(g, q, k, v, mask, saved, scale, out)


def dropout(shape, dtype, p, rng):
    """`plain.dropout`, but that its numbers are made on the device: nothing is stored"""
    if dtype not in REAL:
        return plain.dropout(shape, dtype, p, rng)
    if is_capturing():
        raise NotRepeatable("dropout draws its key on the host")
    key, (_, low, _) = backend.key(rng=rng), backend.rows_of_batch(shape)
    first = low * math.prod(shape[1:])
    return lambda a: noise.dropout(a, p, key, first) if a.size else a


def conv2d_grads(x, g, weight, window, needed=(True, True, True)):
    """The gradients of input, weight and bias, None where not needed; they may share work.

    x is not looked at where the weight's is not needed.
    """
    if needed[0] and needed[1]:
        module = _convolution(len(x), x.shape[3], g.shape[3], window, x, g, weight)
        return module.conv2d_grads(x, g, weight, window)
    gx = conv2d_input_grad(g, weight, window) if needed[0] else None
    gw = conv2d_weight_grad(x, g, window) if needed[1] else None
    return gx, gw, sum_rows(g) if needed[2] else None


def add(a, b, out=None):
    """a + b by broadcasting, into ``out`` if given (it may be a)"""
    return a + b if out is None else cupy.add(a, b, out=out)


def concatenate(arrays, axis):
    """Arrays one after another along an axis"""
    return cupy.concatenate(arrays, axis=axis)


def sum_picked(g, index, rows):
    return (embedding if _suits(g) else plain).sum_picked(g, index, rows)


def sum_blocks(g, scale):
    """`plain.sum_blocks` in one launch"""
    n, height, width, channels = g.shape
    blocks = g.reshape(n, height // scale, scale, width // scale, scale, channels)
    return blocks.sum(axis=(2, 4))
