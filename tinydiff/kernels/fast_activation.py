"""Activations, a cache-full at a time (float32): SiLU and GELU as a hyperbolic tangent, and ReLU.

The first two are x times a distribution function (1 + t)/2, where t is the tanh of an odd function
of x, which cannot overflow and which NumPy has:

    silu   σ(x),   t = tanh(x/2),          slope  ½·(1 + t)·(1 + ½x·(1 − t))
    gelu   Φ(x),   t = tanh(x·Q(x²)),      slope  ½·(1 + t + √(2/π)·x·e^(−x²/2))

Q is a polynomial, fitted to atanh(erf(x/√2))/x.  tanh is flat where its argument is large, so an
error there is forgiven, and seven coefficients hold Φ to 8e-8.  Nothing but x is kept for the
gradient: to work out t once more takes no longer than to read it from memory.
"""

import math

import numpy as np

from tinydiff.kernels import plain
from tinydiff.kernels.workers import empty, parallel, piece, scratch

_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)
_TWICE_THE_PEAK = np.float32(math.sqrt(2 / math.pi))  # of the normal density


def _fitted(terms: int = 7, end: float = 5.5, points: int = 64) -> list[np.float32]:
    """The coefficients of Q by least squares; beyond ``end``, Φ is 0 or 1 in float32."""
    x = end * np.sin(np.pi / 2 * (np.arange(points) + 0.5) / points)  # denser towards the end
    tail = np.array([math.erfc(v * math.sqrt(0.5)) for v in x])
    # An error of 1 in atanh(erf) is one of 1 − erf² in erf, and it counts for the product with x.
    weight = tail * (2 - tail) * np.maximum(1, x)
    powers = x[:, None] ** np.arange(1, 2 * terms, 2)
    wanted = 0.5 * np.log(2 / tail - 1)
    solution = np.linalg.lstsq(powers * weight[:, None], wanted * weight, rcond=None)[0]
    return [np.float32(c) for c in solution]


_Q = _fitted()


def relu(x, out=None):
    """`plain.relu`"""
    if out is not None and not out.flags.c_contiguous:
        return plain.relu(x, out)
    zeros = np.zeros(piece(x.size), np.float32)  # beside a single zero NumPy goes number by number

    def chain(x, y):
        np.maximum(x, zeros[: len(x)], out=y)

    return _in_pieces(chain, x, result=out)


def relu_grad(g, y):
    """`plain.relu_grad`"""

    def chain(g, y, out):
        np.copyto(out, y > 0)  # NumPy is slower to turn it into numbers within the product
        np.multiply(g, out, out)

    return _in_pieces(chain, g, y)


def silu(x):
    """`plain.silu`"""

    def chain(x, y):
        half = np.multiply(x, _HALF, scratch("half", len(x)))
        np.tanh(half, y)
        np.add(y, _ONE, y)
        np.multiply(y, half, y)

    return _in_pieces(chain, x)


def silu_grad(g, x):
    """`plain.silu_grad`"""

    def chain(g, x, t):
        half = np.multiply(x, _HALF, scratch("half", len(x)))
        np.tanh(half, t)
        np.subtract(_ONE, t, t)
        np.multiply(half, t, half)
        np.add(half, _ONE, half)
        np.subtract(_TWO, t, t)
        np.multiply(t, half, t)
        np.multiply(t, _HALF, t)
        np.multiply(t, g, t)

    return _in_pieces(chain, g, x)


def gelu(x):
    """`plain.gelu`"""

    def chain(x, y):
        half = _tanh_of_fit(x, y)
        np.multiply(x, _HALF, half)
        np.add(y, _ONE, y)
        np.multiply(y, half, y)

    return _in_pieces(chain, x)


def gelu_grad(g, x):
    """`plain.gelu_grad`"""

    def chain(g, x, t):
        density = _tanh_of_fit(x, t)
        np.multiply(density, -_HALF, density)
        np.exp(density, density)
        np.multiply(density, _TWICE_THE_PEAK, density)
        np.multiply(density, x, density)
        np.add(t, density, t)
        np.add(t, _ONE, t)
        np.multiply(t, _HALF, t)
        np.multiply(t, g, t)

    return _in_pieces(chain, g, x)


def _tanh_of_fit(x, out):
    """tanh(x·Q(x²)) in ``out``; returns x², in a buffer the caller may write to"""
    square, fit = scratch("square", len(x)), scratch("fit", len(x))
    with np.errstate(over="ignore"):  # x² may be ∞, whose tanh and exponential are right
        np.multiply(x, x, square)
        np.multiply(square, _Q[-1], fit)
        for c in _Q[-2:0:-1]:
            np.add(fit, c, fit)
            np.multiply(fit, square, fit)
        np.add(fit, _Q[0], fit)
        np.multiply(fit, x, fit)
    np.tanh(fit, out)
    return square


def _in_pieces(chain, *arrays, result=None):
    """What chain(*pieces of the arrays, piece of the result) writes into the result"""
    result = empty(*arrays[0].shape) if result is None else result
    flat = [np.ascontiguousarray(a).reshape(-1) for a in (*arrays, result)]

    def work(low, high, _):
        chain(*[a[low:high] for a in flat])

    parallel(work, result.size, piece(result.size), result.size)
    return result
