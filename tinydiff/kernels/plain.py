"""The kernels to read: each is its equation, for NumPy and CuPy and any floating dtype.

Convolution, its input gradient (which is transposed convolution) and its weight gradient are one
sum over the same index set, the trilinear form

    Σ  x[n, i·s + a·d − p, j·s + b·d − p, c] · w[a, b, c, o] · g[n, i, j, o]
  n,i,j,a,b,c,o

differentiated by g (giving the output), by x, and by w.  All three walk over the taps (a, b); at
each tap the rest is one matrix product.
"""

import math

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.kernels.special import erfc
from tinydiff.kernels.window import Window


def conv2d(x, weight, bias, window: Window):
    """y[n,i,j,o] = Σ x[…]·w + bias: x (N, H, W, C), weight (kh, kw, C/groups, O)"""
    padded = pad(x, window)
    y = xp.zeros((len(x), *window.out, weight.shape[3]), x.dtype)
    for a, b, where in window.taps():
        for inputs, outputs in _groups(x.shape[3], weight.shape[3], window):
            y[..., outputs] += padded[where][..., inputs] @ weight[a, b, :, outputs]
    return y if bias is None else y + bias


def conv2d_input_grad(g, weight, window: Window):
    """∂/∂x: every output pixel sends its gradient back to the pixels it looked at."""
    channels = weight.shape[2] * window.groups
    padded = xp.zeros((len(g), *window.padded, channels), g.dtype)
    for a, b, where in window.taps():
        for inputs, outputs in _groups(channels, weight.shape[3], window):
            padded[where][..., inputs] += g[..., outputs] @ weight[a, b, :, outputs].T
    return padded[window.inner]


def conv2d_weight_grad(x, g, window: Window):
    """∂/∂w: at every tap, the pixels seen there against the gradients, over all positions."""
    padded = pad(x, window)
    channels, filters = x.shape[3], g.shape[3]
    gradient = xp.zeros((*window.kernel, channels // window.groups, filters), x.dtype)
    for a, b, where in window.taps():
        for inputs, outputs in _groups(channels, filters, window):
            seen = padded[where][..., inputs].reshape(-1, channels // window.groups)
            gradient[a, b, :, outputs] = seen.T @ g[..., outputs].reshape(len(seen), -1)
    return gradient


def conv2d_grads(x, g, weight, window: Window):
    """∂/∂x, ∂/∂w and ∂/∂bias of one convolution"""
    gx, gw = conv2d_input_grad(g, weight, window), conv2d_weight_grad(x, g, window)
    return gx, gw, sum_rows(g)


def pad(x, window: Window, value=0.0):
    """x with the window's padding around the image."""
    if not any(map(any, window.padding)):
        return x
    return xp.pad(x, ((0, 0), *window.padding, (0, 0)), constant_values=value)


def _groups(channels: int, filters: int, window: Window):
    """Which input channels belong to which output channels, group by group."""
    c, o = channels // window.groups, filters // window.groups
    return [(slice(k * c, k * c + c), slice(k * o, k * o + o)) for k in range(window.groups)]


def matmul(a, b):
    """a @ b: (…, n, k) @ (…, k, m) → (…, n, m)"""
    return a @ b


def linear(x, weight, bias):
    """x @ weight + bias: (n, k), (k, m), (m,) or None → (n, m)"""
    y = x @ weight
    return y if bias is None else y + bias


def matmul_t(a, b):
    """aᵀ @ b: (n, k), (n, m) → (k, m), the weight gradient of a linear layer"""
    return a.T @ b


def sum_rows(a):
    """Σ over all axes but the last: (…, m) → (m,), the gradient of a bias"""
    return a.sum(axis=tuple(range(a.ndim - 1)))


def sum_picked(g, index, rows: int):
    """Σ g[i] over the i with index[i] = r, for each r < rows: (…, m), host integers (…) → (rows, m)

    The gradient of an embedding.
    """
    table = xp.zeros((rows, g.shape[-1]), g.dtype)
    xp.add.at(table, backend.asarray(index), g)
    return table


def sum_blocks(g, scale: int):
    """Σ over each scale × scale block of pixels: (N, H·scale, W·scale, C) → (N, H, W, C)"""
    n, height, width, channels = g.shape
    blocks = g.reshape(n, height // scale, scale, width // scale, scale, channels)
    return sum(blocks[:, :, a, :, b] for a in range(scale) for b in range(scale))


def sigmoid(x):
    """1 / (1 + e⁻ˣ), without overflow: e is raised to −|x| only"""
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)


def relu(x, out=None):
    """max(x, 0), into ``out`` if given (it may be x)"""
    return xp.maximum(x, 0, out=out)


def relu_grad(g, y):
    """g·[y > 0], with y = max(x, 0)"""
    return g * (y > 0)


def silu(x):
    """x·σ(x)"""
    return x * sigmoid(x)


def silu_grad(g, x):
    """g·(σ + x·σ·(1 − σ))"""
    s = sigmoid(x)
    return g * (s + x * s * (1 - s))


def gelu(x):
    """x·Φ(x), Φ(x) = ½·erfc(−x/√2)"""
    return x * _normal_cdf(x)


def gelu_grad(g, x):
    """g·(Φ(x) + x·φ(x)), φ(x) = e^(−x²/2) / √(2π)"""
    density = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return g * (_normal_cdf(x) + x * density)


def _normal_cdf(x):
    return 0.5 * erfc(x * -math.sqrt(0.5))


def softmax(x, axis=-1):
    """eˣ / Σ eˣ along the axis"""
    e = xp.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def group_norm(x, weight, bias, groups, eps, silu=False):
    """(x − μ)/√(v + eps)·weight + bias, μ and v over the pixels and channels of each group.

    x (N, L, C).  With silu=True followed by z·σ(z).
    Returns y, what the gradient needs, and μ and v of shape (N, groups).
    """
    n, pixels, channels = x.shape
    grouped = x.reshape(n, pixels, groups, channels // groups)
    mean = grouped.mean(axis=(1, 3), keepdims=True)
    centred = grouped - mean
    variance = (centred * centred).mean(axis=(1, 3), keepdims=True)
    rstd = 1 / xp.sqrt(variance + eps)
    normal = (centred * rstd).reshape(x.shape)
    y = normal * weight + bias
    saved = (normal, rstd, y if silu else None)
    if silu:
        y = globals()["silu"](y)
    return y, saved, mean.reshape(n, groups), variance.reshape(n, groups)


def group_norm_grad(g, saved, weight):
    """∂/∂x, ∂/∂weight, ∂/∂bias of `group_norm`.

    With h = g·weight and means over the group: ∂/∂x = (h − mean(h) − x̂·mean(h·x̂)) / √(v + eps)
    """
    normal, rstd, z = saved
    if z is not None:
        g = silu_grad(g, z)
    groups = rstd.shape[2]
    n, pixels, channels = g.shape
    shape = (n, pixels, groups, channels // groups)
    h, x_hat = (g * weight).reshape(shape), normal.reshape(shape)
    h_mean = h.mean(axis=(1, 3), keepdims=True)
    along = (h * x_hat).mean(axis=(1, 3), keepdims=True)
    gx = ((h - h_mean - x_hat * along) * rstd).reshape(g.shape)
    return gx, (g * normal).sum(axis=(0, 1)), g.sum(axis=(0, 1))


def attention(q, k, v, mask, scale):
    """softmax(scale·q kᵀ + mask) v, and the weights, kept for the gradient: (…, T, d)"""
    scores = (q * scale) @ xp.swapaxes(k, -1, -2)
    p = softmax(scores if mask is None else scores + mask)
    return p @ v, p


def attention_grad(g, q, k, v, mask, p, scale, out):
    """∂/∂q, ∂/∂k, ∂/∂v of `attention` into the arrays ``out``; returns ∂/∂mask or None"""
    gq, gk, gv = out
    gp = g @ xp.swapaxes(v, -1, -2)
    gs = p * (gp - (gp * p).sum(axis=-1, keepdims=True))
    gq[...] = (gs @ k) * scale
    gk[...] = (xp.swapaxes(gs, -1, -2) @ q) * scale
    gv[...] = xp.swapaxes(p, -1, -2) @ g
    return None if mask is None else gs


def dropout(shape, dtype, p, rng):
    """A function of arrays: to each value 0 with probability p, always the same, else 1/(1 − p)"""
    keep = backend.rand(shape, rng=rng) >= p
    scale = keep.astype(dtype) / (1 - p)
    return lambda a: a * scale


def max_pool(x, window: Window):
    """The maximum of each window, and the number of the tap that held it first."""
    padded = pad(x, window, value=-xp.inf)
    best = switches = None
    for tap, (_, _, where) in enumerate(window.taps()):
        seen = padded[where]
        if best is None:
            best, switches = seen.copy(), xp.zeros(seen.shape, xp.int32)
        else:
            better = (seen > best) | xp.isnan(seen)  # a NaN must not vanish
            best = xp.where(better, seen, best)
            switches = xp.where(better, tap, switches)
    return best, switches


def max_pool_grad(g, switches, window: Window):
    """Each gradient to the pixel its window took its maximum from."""
    padded = xp.zeros((len(g), *window.padded, g.shape[3]), g.dtype)
    for tap, (_, _, where) in enumerate(window.taps()):
        padded[where] += g * (switches == tap)
    return padded[window.inner]
