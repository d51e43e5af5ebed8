"""Normalisation: four names for one operation.

    y = (x − μ) / √(v + ε) · weight + bias

They differ in what μ and v are taken over.  Group norm (Wu & He 2018): the pixels and channels
of one group of one image.  Instance norm: groups of one channel.  Layer norm (Ba et al. 2016):
all channels of one token.  Batch norm (Ioffe & Szegedy 2015): one channel over the whole batch.
So each is group norm of a rearranged (N, L, C), a view.
"""

import math

from tinydiff import backend, kernels
from tinydiff.backend import xp
from tinydiff.ops.arithmetic import div
from tinydiff.recording import is_recording
from tinydiff.tensor import Tensor, once, op


@op
def _group_norm(x, weight, bias, *, shape, groups, eps, silu=False, frozen=False, statistics=None):
    """Group norm of x seen as ``shape`` = (N, L, C); μ and v go into the list ``statistics``."""
    y, saved, mean, variance = kernels.group_norm(
        x.reshape(shape), weight, bias, groups, eps, silu, frozen
    )
    if statistics is not None:
        statistics[:] = mean, variance
    gradients = once(lambda g: kernels.group_norm_grad(g.reshape(shape), saved, weight))
    return y.reshape(x.shape), (
        lambda g: gradients(g)[0].reshape(x.shape),
        lambda g: gradients(g)[1],
        lambda g: gradients(g)[2],
    )


def group_norm(x, weight, bias, *, groups: int, eps: float = 1e-5, silu: bool = False) -> Tensor:
    """x (N, …, C), weight and bias (C,); with silu=True followed by z·σ(z), in one pass."""
    _check("group_norm", x, weight, bias, eps)
    channels = x.shape[-1]
    if not isinstance(groups, int) or groups < 1 or channels % groups:
        raise ValueError(f"group_norm: groups={groups!r} does not divide {channels} channels")
    shape = (x.shape[0], math.prod(x.shape[1:-1]), channels)
    learned = [isinstance(a, Tensor) and a.requires_grad for a in (x, weight, bias)]
    frozen = is_recording() and learned == [True, False, False]
    return _group_norm(
        x, weight, bias, shape=shape, groups=groups, eps=eps, silu=silu, frozen=frozen
    )


def instance_norm(x, weight, bias, *, eps: float = 1e-5) -> Tensor:
    """x (N, …, C), weight and bias (C,): each channel of each image by itself."""
    _check("instance_norm", x, weight, bias, eps)
    return group_norm(x, weight, bias, groups=x.shape[-1], eps=eps)


def layer_norm(x, weight, bias, *, eps: float = 1e-5) -> Tensor:
    """x (…, C), weight and bias (C,): each token by itself."""
    _check("layer_norm", x, weight, bias, eps)
    shape = (math.prod(x.shape[:-1]), 1, x.shape[-1])
    return _group_norm(x, weight, bias, shape=shape, groups=1, eps=eps)


def batch_norm(
    x, weight, bias, *, mean=None, var=None, eps: float = 1e-5, statistics: list | None = None
) -> Tensor:
    """x (N, …, C), weight and bias (C,): each channel over the batch and all pixels.

    mean, var    (C,) use these instead of the batch's (evaluation)
    statistics   a list that receives the batch's mean and (biased) variance
    """
    _check("batch_norm", x, weight, bias, eps)
    if (mean is None) != (var is None):
        raise ValueError("batch_norm: give both mean and var, or neither")
    if mean is not None:
        mean, var = backend.asarray(mean), backend.asarray(var)
        if not mean.shape == var.shape == weight.shape:
            raise ValueError(
                f"batch_norm: mean {mean.shape} and var {var.shape}, expected {weight.shape}"
            )
        scale = div(weight, xp.sqrt(var + eps))
        return x * scale + (bias - mean * scale)
    channels = x.shape[-1]
    rows = math.prod(x.shape[:-1])
    if rows < 2:
        raise ValueError(f"batch_norm: needs more than one value per channel, got {x.shape}")
    found = [] if statistics is None else statistics
    y = _group_norm(
        x, weight, bias, shape=(1, rows, channels), groups=channels, eps=eps, statistics=found
    )
    found[:] = [s.reshape(channels) for s in found]
    return y


def _check(name, x, weight, bias, eps):
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{name}: expected a non-empty (N, …, C), got shape {x.shape}")
    for label, p in (("weight", weight), ("bias", bias)):
        if p.shape != (x.shape[-1],):
            raise ValueError(f"{name}: {label} has shape {p.shape}, expected ({x.shape[-1]},)")
    if eps < 0:
        raise ValueError(f"{name}: eps is {eps}, expected ≥ 0")
