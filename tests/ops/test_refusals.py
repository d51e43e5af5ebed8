"""A wrong call raises at the op's door, and the message names the op and the argument."""

import numpy as np
import pytest

from tinydiff import Tensor, ops


def floats(*shape):
    return Tensor(np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape))


def ints(*shape):
    return Tensor(np.zeros(shape, int))


X = floats(2, 3)
IMAGE = floats(1, 4, 6, 2)
KERNEL = floats(3, 3, 2, 4)


def unpool(y):
    switches = []
    ops.max_pool2d(IMAGE, kernel=2, switches=switches)
    return ops.max_unpool2d(y, switches=switches[0])


def crop(boxes, size=2, **settings):
    return ops.roi_align(IMAGE, boxes=boxes, size=size, **settings)


# (what is called, what the message must say)
WRONG_VALUES = [
    (lambda: ops.sum(X, axis=2), "sum: axis 2"),
    (lambda: ops.sum(X, axis=(0, -2)), "sum: axis .* twice"),
    (lambda: ops.mean(X, axis="rows"), "mean: axis 'rows'"),
    (lambda: ops.mean(floats(0, 3)), "mean: shape .* no values"),
    (lambda: ops.var(X, axis=1.5), "var: axis 1.5"),
    (lambda: ops.var(X, correction=6), "var: .* correction=6"),
    (lambda: ops.max(X, axis=-3), "max: axis -3"),
    (lambda: ops.max(floats(2, 0), axis=1), "max: shape .* no values"),
    (lambda: ops.min(floats(2, 0), axis=1), "min: shape .* no values"),
    (lambda: ops.logsumexp(X, axis=5), "logsumexp: axis 5"),
    (lambda: ops.logsumexp(floats(2, 0)), "logsumexp: shape .* no values"),
    (lambda: ops.softmax(X, axis=2), "softmax: axis 2"),
    (lambda: ops.softmax(floats(2, 0)), "softmax: shape .* no values"),
    (lambda: ops.log_softmax(X, axis=(0, 1)), r"log_softmax: axis \(0, 1\)"),
    (lambda: ops.log_softmax(floats(2, 0)), "log_softmax: shape .* no values"),
    (lambda: ops.clip(X), "clip: give low, high or both"),
    (lambda: ops.clip(X, low=1, high=0), "clip: low is 1"),
    (lambda: X.reshape(4), "reshape: .* shape"),
    (lambda: ops.reshape(X, shape=(-1, -1)), "reshape: .* shape"),
    (lambda: X.transpose(0), "transpose: axes"),
    (lambda: X.transpose(0, 2), "transpose: axis 2"),
    (lambda: X.transpose(0, 0), "transpose: axis .* twice"),
    (lambda: ops.expand(X, shape=(2, 2)), "expand: .* shape"),
    (lambda: ops.flip(X, axis=2), "flip: axis 2"),
    (lambda: ops.concat([]), "concat: needs at least one"),
    (lambda: ops.concat([X, floats(2, 3, 1)]), r"concat: tensors\[1\]"),
    (lambda: ops.concat([X, floats(3, 3)]), r"concat: tensors\[1\]"),
    (lambda: ops.concat([X], axis=2), "concat: axis 2"),
    (lambda: ops.stack([]), "stack: needs at least one"),
    (lambda: ops.stack([X, X], axis=3), "stack: axis 3"),
    (lambda: ops.stack([X, floats(3, 2)]), r"stack: tensors\[1\]"),
    (lambda: ops.split(X, 2), "split: axis -1 .* 2"),
    (lambda: ops.split(X, [1, 1]), "split: sizes"),
    (lambda: ops.split(X, [-1, 4]), "split: sizes"),
    (lambda: ops.split(X, []), "split: sizes"),
    (lambda: ops.split(X, 1, axis=2), "split: axis 2"),
    (lambda: ops.take(X, index=[3], axis=1), "take: index"),
    (lambda: ops.take(X, index=[[0]], axis=1), "take: index"),
    (lambda: ops.gather(X, [[3], [0]]), "gather: index"),
    (lambda: ops.gather(X, [0, 1]), "gather: index"),
    (lambda: ops.gather(X, np.zeros((3, 1), int)), "gather: index"),
    (lambda: ops.gather(X, [[0], [0]], axis=2), "gather: axis 2"),
    (lambda: ops.pad(X, [(1, 1)]), "pad: "),
    (lambda: ops.pad(X, [(1, 1), (-1, 0)]), "pad: "),
    (lambda: ops.pad(X, 2), "pad: "),
    (lambda: ops.pad(X, [(1, 1), (3, 0)], mode="reflect"), "pad: cannot reflect 3 of 3"),
    (lambda: ops.pad(X, [(1, 1), (1, 0)], mode="wrap"), "pad: mode is 'wrap'"),
    (lambda: X @ X, "matmul: shapes"),
    (lambda: X @ 2.0, "matmul: shapes"),
    (lambda: X @ floats(3), "matmul: shapes"),
    (lambda: ops.linear(X, X), "linear: x .* weight"),
    (lambda: ops.linear(X, floats(3, 4), floats(3)), "linear: bias"),
    (lambda: ops.linear(X, floats(3, 1), floats(2)), "linear: bias"),
    (lambda: ops.einsum("ij,jk", X, X), "einsum: .* output"),
    (lambda: ops.einsum("ij->ij", X, X), "einsum: .* operands"),
    (lambda: ops.einsum("ii->i", X), "einsum: operand 0"),
    (lambda: ops.einsum("ijk->i", X), "einsum: operand 0"),
    (lambda: ops.einsum("ij->ik", X), "einsum: the output"),
    (lambda: ops.einsum("ij,jk->ik", X, X), "einsum: operand 1"),
    (lambda: ops.embedding(X, [2]), "embedding: index"),
    (lambda: ops.embedding(X, [-1]), "embedding: index"),
    (lambda: ops.embedding(floats(3), [0]), "embedding: weight"),
    (lambda: ops.attention(X, X, floats(3, 3)), "attention: q, k, v"),
    (lambda: ops.attention(X, floats(2, 4), X), "attention: q, k, v"),
    (lambda: ops.attention(floats(3), floats(3), floats(3)), "attention: q, k, v"),
    (lambda: ops.attention(floats(2, 2, 3), X, X), "attention: .* leading"),
    (lambda: ops.attention(X, floats(0, 3), floats(0, 3)), "attention: .* no keys"),
    (lambda: ops.self_attention(floats(2, 3, 4), heads=1), "self_attention: qkv"),
    (lambda: ops.self_attention(floats(2, 3, 6), heads=4), "self_attention: qkv"),
    (lambda: ops.self_attention(floats(3, 6), heads=1), "self_attention: qkv"),
    (lambda: ops.self_attention(floats(2, 0, 6), heads=1), "self_attention: qkv"),
    (lambda: ops.self_attention(floats(2, 3, 6), heads=2.0), "self_attention: qkv"),
    (lambda: ops.attention(X, X, X, mask=np.ones((3, 2), bool)), "attention: mask"),
    (lambda: ops.attention(X, X, X, mask=np.ones((1, 2, 2), bool)), "attention: mask"),
    (lambda: ops.attention(X, X, X, mask=[[True, False], [False, False]]), "attention: the mask"),
    (lambda: ops.attention(X, X, X, mask=np.full((2, 2), -np.inf)), "attention: the mask"),
    (lambda: ops.conv2d(X, KERNEL), "conv2d: expected an image"),
    (lambda: ops.conv2d(floats(0, 4, 4, 2), KERNEL), "conv2d: image .* empty"),
    (lambda: ops.conv2d(IMAGE, floats(3, 0, 2, 4)), "conv2d: .* empty"),
    (lambda: ops.conv2d(IMAGE, floats(3, 3, 3, 4)), "conv2d: .* channels"),
    (lambda: ops.conv2d(IMAGE, KERNEL, floats(3)), "conv2d: bias"),
    (lambda: ops.conv2d(IMAGE, KERNEL, groups=0), "conv2d: groups is 0"),
    (lambda: ops.conv2d(IMAGE, floats(3, 3, 1, 3), groups=2), "conv2d: groups=2"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=0), "stride is 0"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=1.5), "stride is 1.5"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=(1, 2, 3)), "stride is"),
    (lambda: ops.conv2d(IMAGE, KERNEL, dilation=0), "dilation is 0"),
    (lambda: ops.conv2d(IMAGE, KERNEL, padding=-1), "padding is -1"),
    (lambda: ops.conv2d(IMAGE, KERNEL, padding="valid"), "padding is 'valid'"),
    (lambda: ops.conv2d(IMAGE, KERNEL, dilation=2), "a window .* does not fit"),
    (lambda: ops.conv_transpose2d(X, KERNEL), "conv_transpose2d: expected an image"),
    (lambda: ops.conv_transpose2d(floats(0, 4, 4, 2), KERNEL), "conv_transpose2d: .* empty"),
    (lambda: ops.conv_transpose2d(IMAGE, KERNEL.transpose()), "conv_transpose2d: .* channels"),
    (lambda: ops.conv_transpose2d(IMAGE, floats(1, 1, 2, 3), floats(2)), "conv_transpose2d: bias"),
    (
        lambda: ops.conv_transpose2d(IMAGE, floats(1, 1, 2, 3), output_padding=1),
        "conv_transpose2d: output_padding",
    ),
    (
        lambda: ops.conv_transpose2d(IMAGE, floats(1, 1, 2, 3), padding=2),
        "conv_transpose2d: the output",
    ),
    (
        lambda: ops.conv_transpose2d(
            IMAGE, floats(3, 3, 2, 3), stride=2, padding="same", output_padding=1
        ),
        "conv_transpose2d: .* output_padding",
    ),
    (
        lambda: ops.conv_transpose2d(IMAGE, floats(3, 3, 2, 3), padding="full"),
        "conv_transpose2d: padding is 'full'",
    ),
    (lambda: ops.max_pool2d(X, kernel=2), "max_pool2d: expected .* image"),
    (lambda: ops.max_pool2d(IMAGE, kernel=0), "kernel is 0"),
    (lambda: ops.max_pool2d(IMAGE, kernel=2, padding=2), "max_pool2d: padding"),
    (lambda: ops.max_pool2d(IMAGE, kernel=7), "a window"),
    (lambda: ops.relu_max_pool2d(X, kernel=2), "relu_max_pool2d: expected .* image"),
    (lambda: ops.relu_max_pool2d(IMAGE, kernel=2, stride=1), "relu_max_pool2d: .* overlap"),
    (lambda: unpool(floats(1, 2, 3, 3)), "max_unpool2d: switches are for .* the image has"),
    (lambda: crop([]), "roi_align: boxes have shapes"),
    (lambda: crop([[[0, 0, 1]]]), "roi_align: boxes have shapes"),
    (lambda: crop([[[0, 0, 1, np.nan]]]), "roi_align: boxes are not finite"),
    (lambda: crop([[[2, 0, 1, 1]]]), "roi_align: boxes are not .* x0 ≤ x1"),
    (lambda: crop([[[0, 0, 1, 1]]], size=0), "roi_align: size is 0"),
    (lambda: crop([[[0, 0, 1, 1]]], samples=0), "roi_align: samples is 0"),
    (lambda: ops.roi_align(X, boxes=[], size=1), "roi_align: expected .* image"),
    (lambda: ops.avg_pool2d(IMAGE, kernel=2, stride=0), "stride is 0"),
    (lambda: ops.avg_pool2d(floats(0, 2, 2, 1), kernel=2), "avg_pool2d: expected .* image"),
    (lambda: ops.global_avg_pool2d(X), "global_avg_pool2d: expected .* image"),
    (lambda: ops.global_max_pool2d(X), "global_max_pool2d: expected .* image"),
    (lambda: ops.upsample_nearest2d(X), "upsample_nearest2d: expected .* image"),
    (lambda: ops.upsample_nearest2d(IMAGE, scale=0), "upsample_nearest2d: scale is 0"),
    (lambda: ops.upsample_bilinear2d(IMAGE, scale=1.5), "upsample_bilinear2d: scale is 1.5"),
    (lambda: ops.resize_bilinear2d(IMAGE, size=(4, 5.5)), "resize_bilinear2d: size is"),
    (lambda: ops.resize_bilinear2d(IMAGE, size=0), "resize_bilinear2d: size is 0"),
    (lambda: ops.pixel_shuffle(IMAGE, factor=2), "pixel_shuffle: 2 channels"),
    (lambda: ops.pixel_unshuffle(IMAGE, factor=4), "pixel_unshuffle: factor 4"),
    (lambda: ops.pixel_unshuffle(IMAGE, factor=-1), "pixel_unshuffle: factor is -1"),
    (lambda: ops.group_norm(floats(3), floats(3), floats(3), groups=1), "group_norm: expected"),
    (lambda: ops.group_norm(X, floats(3), floats(3), groups=2), "group_norm: groups=2"),
    (lambda: ops.group_norm(X, floats(2), floats(3), groups=1), "group_norm: weight"),
    (lambda: ops.group_norm(X, floats(3), floats(1), groups=1), "group_norm: bias"),
    (lambda: ops.group_norm(X, floats(3), floats(3), groups=1, eps=-1), "group_norm: eps is -1"),
    (lambda: ops.layer_norm(X, floats(2), floats(3)), "layer_norm: weight"),
    (lambda: ops.instance_norm(X, floats(3), floats(3, 1)), "instance_norm: bias"),
    (lambda: ops.batch_norm(floats(1, 3), floats(3), floats(3)), "batch_norm: needs more"),
    (lambda: ops.batch_norm(X, floats(3), floats(3), mean=np.zeros(3)), "batch_norm: give both"),
    (
        lambda: ops.batch_norm(X, floats(3), floats(3), mean=np.zeros(1), var=np.ones(3)),
        "batch_norm: mean",
    ),
    (lambda: ops.dropout(X, p=1), "dropout: p is 1"),
    (lambda: ops.dropout(X, p=-0.1), "dropout: p is -0.1"),
    (lambda: ops.mse_loss(X, floats(2)), "mse_loss: prediction .* target"),
    (lambda: ops.mse_loss(X, [1.0, 2, 3]), "mse_loss: prediction .* target"),
    (lambda: ops.l1_loss(X, floats(2, 1)), "l1_loss: prediction .* target"),
    (lambda: ops.huber_loss(X, X, delta=0), "huber_loss: delta is 0"),
    (lambda: ops.mse_loss(X, X, reduction="avg"), "reduction is 'avg'"),
    (
        lambda: ops.binary_cross_entropy_with_logits(X, floats(3)),
        "binary_cross_entropy_with_logits: prediction .* target",
    ),
    (lambda: ops.cross_entropy(X, [0]), "cross_entropy: labels"),
    (lambda: ops.cross_entropy(X, [0, 3]), "cross_entropy: label 3"),
    (lambda: ops.cross_entropy(X, [0, -1]), "cross_entropy: label -1"),
    (lambda: ops.cross_entropy(X, [1, 1], ignore_index=1), "cross_entropy: .* ignore_index"),
    (lambda: ops.cross_entropy(X, [0, 1], label_smoothing=2), "cross_entropy: label_smoothing is"),
]

WRONG_TYPES = [
    (lambda: X + Tensor(np.ones(3)), "add: inputs are float32 and float64"),
    (lambda: ops.linear(X, Tensor(np.ones((3, 2)))), "linear: inputs are float32 and float64"),
    (lambda: ops.concat([X, Tensor(np.ones((2, 3)))]), "concat: inputs are float32 and float64"),
    (lambda: ops.clip(X, low=np.zeros(3)), "clip: bounds"),
    (lambda: ops.clip(X, high=Tensor(1.0)), "clip: bounds"),
    (lambda: ops.take(X, index=[0.0], axis=0), "take: index"),
    (lambda: ops.gather(X, [[0.0], [1.0]]), "gather: index"),
    (lambda: ops.embedding(X, [0.0]), "embedding: index"),
    (lambda: ops.embedding(X, [True]), "embedding: index"),
    (lambda: ops.attention(X, X, X, mask=[[1, 0], [1, 1]]), "attention: mask"),
    (lambda: ops.cross_entropy(X, [0.0, 1.0]), "cross_entropy: labels"),
    (lambda: ops.cross_entropy(ints(2, 3), [0, 1]), "cross_entropy: logits"),
    (lambda: ops.max_pool2d(ints(1, 2, 2, 1), kernel=2), "max_pool2d: the image"),
    (lambda: unpool(ints(1, 2, 3, 2)), "max_unpool2d: the image"),
    (lambda: ops.max_unpool2d(IMAGE, switches=[]), "max_unpool2d: switches is list"),
    (lambda: ops.roi_align(ints(1, 2, 2, 1), boxes=[], size=1), "roi_align: the image"),
    (lambda: ops.add(X), "add"),
    (lambda: ops.matmul(X, c=X), "c"),
    (lambda: X.sum(0), "sum"),
    (lambda: Tensor(X), "Tensor: data is already a Tensor"),
    (lambda: Tensor([X, X]), r"\.numpy\(\)"),
    (lambda: Tensor(None), "real numbers"),
    (lambda: Tensor(["a"]), "real numbers"),
    (lambda: Tensor([1j]), "real numbers"),
    (lambda: Tensor([1, 2], requires_grad=True), "Tensor: requires_grad"),
    (lambda: np.asarray(X), r"\.numpy\(\)"),
    (lambda: list(Tensor(1.0)), "unsized"),
]

WRONG_PLACES = [
    (lambda: X[2], "[Ii]ndex 2"),
    (lambda: X[0, 0, 0], "too many indices"),
    (lambda: X[1.0], "integer"),
    (lambda: X[[0.5]], "integer"),
]


def _ids(table):
    return [f"{i}-{message.split(':')[0].split()[0]}" for i, (_, message) in enumerate(table)]


@pytest.mark.parametrize("call, message", WRONG_VALUES, ids=_ids(WRONG_VALUES))
def test_wrong_values(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("call, message", WRONG_TYPES, ids=_ids(WRONG_TYPES))
def test_wrong_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("call, message", WRONG_PLACES, ids=_ids(WRONG_PLACES))
def test_wrong_places(call, message):
    with pytest.raises(IndexError, match=message):
        call()
