"""The kernels where CuPy computes: short CUDA C ones and cuBLAS in float32 and float64.

Other dtypes, and arrays without elements, take the plain ones.
"""

import cupy

from tinydiff.kernels import plain
from tinydiff.kernels.cuda import activation
from tinydiff.kernels.cuda.source import REAL
from tinydiff.kernels.cuda.update import Finite, adam, move_towards, norm, sgd, shrink
from tinydiff.kernels.plain import (
    attention,
    attention_grad,
    conv2d,
    conv2d_input_grad,
    conv2d_weight_grad,
    group_norm,
    group_norm_grad,
    linear,
    matmul,
    matmul_t,
    softmax,
    sum_blocks,
    sum_rows,
)


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


def conv2d_grads(x, g, weight, window, needed=(True, True, True)):
    """The gradients of input, weight and bias, None where not needed"""
    gx = conv2d_input_grad(g, weight, window) if needed[0] else None
    gw = conv2d_weight_grad(x, g, window) if needed[1] else None
    return gx, gw, sum_rows(g) if needed[2] else None


def add(a, b, out=None):
    """a + b by broadcasting, into ``out`` if given (it may be a)"""
    return a + b if out is None else cupy.add(a, b, out=out)


def concatenate(arrays, axis):
    """Arrays one after another along an axis"""
    return cupy.concatenate(arrays, axis=axis)
