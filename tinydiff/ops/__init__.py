"""Differentiable functions: value and derivative side by side."""

from tinydiff.ops.activation import elu, gelu, leaky_relu, sigmoid, silu, softplus, tanh
from tinydiff.ops.arithmetic import (
    abs,
    add,
    astype,
    clip,
    cos,
    div,
    exp,
    log,
    maximum,
    minimum,
    mul,
    neg,
    power,
    sin,
    sqrt,
    square,
    sub,
    where,
)
from tinydiff.ops.attention import attention, self_attention
from tinydiff.ops.conv import conv2d, conv_transpose2d
from tinydiff.ops.crop import roi_align
from tinydiff.ops.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_diagonal_gaussians,
    l1_loss,
    mse_loss,
)
from tinydiff.ops.noise import dropout
from tinydiff.ops.norm import batch_norm, group_norm, instance_norm, layer_norm
from tinydiff.ops.pooling import (
    avg_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
    max_pool2d,
    max_unpool2d,
    relu_max_pool2d,
)
from tinydiff.ops.product import einsum, embedding, linear, matmul
from tinydiff.ops.reduction import log_softmax, logsumexp, max, mean, min, softmax, sum, var
from tinydiff.ops.relu import relu
from tinydiff.ops.resample import (
    pixel_shuffle,
    pixel_unshuffle,
    resize_bilinear2d,
    upsample_bilinear2d,
    upsample_nearest2d,
)
from tinydiff.ops.shape import (
    concat,
    expand,
    flip,
    gather,
    getitem,
    pad,
    reshape,
    split,
    stack,
    take,
    transpose,
)

__all__ = [
    name for name, value in list(globals().items()) if callable(value) and not name.startswith("_")
]
