"""The value of every op, against its definition written out in NumPy or in loops."""

import math

import numpy as np
import pytest

from tinydiff import Tensor, backend, ops

R = np.random.default_rng(0)
X, Y = R.standard_normal((2, 3, 4)), R.standard_normal((2, 3, 4))
P = np.exp(X)
IMAGE = R.standard_normal((2, 5, 6, 4))
SCALE, SHIFT = R.uniform(0.5, 2, 4), R.standard_normal(4)
SIGMOID = np.vectorize(lambda x: 1 / (1 + math.exp(-x)))
PHI = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)))
LABELS = np.array([[0, 1, 3], [2, 2, 0]])


def normalised(x, axes, eps=1e-5):
    mean = x.mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + eps)


def windows(x, kernel, stride=1, padding=((0, 0), (0, 0)), fill=0.0):
    """All windows of an image: (N, H', W', kh, kw, C)."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))
    return np.moveaxis(seen[:, ::stride, ::stride], 3, -1)


def pooled_and_back(x, **settings):
    switches = []
    y = ops.max_pool2d(x, switches=switches, **settings)
    return ops.max_unpool2d(y, switches=switches.pop())


def largest_in_blocks(x):
    """For each pixel of (N, 5, 6, C) the largest of its 2 × 2 block; blocks are 3 apart."""
    best = np.full(x.shape, np.inf)
    for i, j in ((0, 0), (0, 3), (3, 0), (3, 3)):
        block = np.s_[:, i : i + 2, j : j + 2]
        best[block] = x[block].max(axis=(1, 2), keepdims=True)
    return best


def softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def cross_entropies(q):
    return -(q * np.log(softmax(X))).sum(axis=-1)


WEIGHT = R.standard_normal((3, 2, 4, 5))
ONE_HOT = np.eye(4)[LABELS]

# name, the op called, what the definition gives
VALUES = [
    ("add", lambda: ops.add(X, Y), X + Y),
    ("sub", lambda: ops.sub(X, Y), X - Y),
    ("mul", lambda: ops.mul(X, Y), X * Y),
    ("div", lambda: ops.div(X, P), X / P),
    ("neg", lambda: ops.neg(X), -X),
    ("square", lambda: ops.square(X), X * X),
    ("power", lambda: ops.power(P, X), np.exp(X * X)),
    ("exp", lambda: ops.exp(X), P),
    ("log", lambda: ops.log(P), X),
    ("sqrt", lambda: ops.sqrt(P), np.exp(X / 2)),
    ("abs", lambda: ops.abs(X), np.where(X < 0, -X, X)),
    ("sin", lambda: ops.sin(X), np.vectorize(math.sin)(X)),
    ("cos", lambda: ops.cos(X), np.vectorize(math.cos)(X)),
    (
        "clip",
        lambda: ops.clip(X, low=-0.5, high=0.3),
        np.vectorize(lambda x: min(max(x, -0.5), 0.3))(X),
    ),
    ("maximum", lambda: ops.maximum(X, Y), np.where(X > Y, X, Y)),
    ("minimum", lambda: ops.minimum(X, Y), np.where(X < Y, X, Y)),
    ("where", lambda: ops.where(X > 0, X, Y), np.where(X > 0, X, Y)),
    ("astype", lambda: ops.astype(X * 9, dtype=np.int32), (X * 9).astype(np.int32)),
    ("relu", lambda: ops.relu(X), np.where(X > 0, X, 0)),
    ("leaky_relu", lambda: ops.leaky_relu(X, slope=0.1), np.where(X > 0, X, 0.1 * X)),
    ("elu", lambda: ops.elu(X, alpha=0.7), np.where(X > 0, X, 0.7 * (P - 1))),
    ("tanh", lambda: ops.tanh(X), np.vectorize(math.tanh)(X)),
    ("sigmoid", lambda: ops.sigmoid(X), SIGMOID(X)),
    ("silu", lambda: ops.silu(X), X * SIGMOID(X)),
    ("softplus", lambda: ops.softplus(X), np.log(1 + P)),
    ("gelu", lambda: ops.gelu(X), X * PHI(X)),
    (
        "gelu",
        lambda: ops.gelu(X, approximate=True),
        0.5 * X * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))),
    ),
    ("sum", lambda: ops.sum(X, axis=(0, 2)), np.einsum("ijk->j", X)),
    ("mean", lambda: ops.mean(X, axis=-1, keepdims=True), np.einsum("ijk->ij", X)[..., None] / 4),
    ("var", lambda: ops.var(X, axis=0, correction=1), (X[0] - X[1]) ** 2 / 2),
    ("max", lambda: ops.max(X, axis=1), np.sort(X, axis=1)[:, -1]),
    ("min", lambda: ops.min(X), sorted(X.ravel())[0]),
    ("logsumexp", lambda: ops.logsumexp(X, axis=1), np.log(P.sum(axis=1))),
    ("softmax", lambda: ops.softmax(X, axis=1), softmax(X, 1)),
    ("log_softmax", lambda: ops.log_softmax(X), np.log(softmax(X))),
    ("reshape", lambda: ops.reshape(X, shape=(4, -1)), X.reshape(4, 6)),
    ("transpose", lambda: ops.transpose(X, axes=(-1, 0, 1)), np.einsum("ijk->kij", X)),
    (
        "expand",
        lambda: ops.expand(X[:, :1], shape=(5, 2, 3, 4)),
        X[None, :, [0, 0, 0]].repeat(5, 0),
    ),
    ("flip", lambda: ops.flip(X, axis=(0, -1)), X[::-1, :, ::-1]),
    (
        "concat",
        lambda: ops.concat([X, Y], axis=1),
        np.array([[*x, *y] for x, y in zip(X, Y, strict=True)]),
    ),
    (
        "stack",
        lambda: ops.stack([X, Y], axis=1),
        np.array([[x, y] for x, y in zip(X, Y, strict=True)]),
    ),
    ("split", lambda: ops.split(X, [1, 3])[1], X[:, :, 1:]),
    ("getitem", lambda: ops.getitem(X, index=(1, slice(None), [3, 3])), X[1][:, [3, 3]].T),
    ("take", lambda: ops.take(X, index=[2, 0, 2], axis=1), X[:, [2, 0, 2]]),
    (
        "gather",
        lambda: ops.gather(X, LABELS[..., None]),
        np.array([[[X[i, j, LABELS[i, j]]] for j in range(3)] for i in range(2)]),
    ),
    (
        "pad",
        lambda: ops.pad(X[0], [(0, 1), (2, 0)], value=7),
        np.vstack([np.hstack([np.full((3, 2), 7), X[0]]), np.full((1, 6), 7)]),
    ),
    (
        "pad",
        lambda: ops.pad(X[0], [(2, 0), (0, 3)], mode="reflect"),
        X[0][[2, 1, 0, 1, 2]][:, [0, 1, 2, 3, 2, 1, 0]],
    ),
    ("matmul", lambda: ops.matmul(X, Y[0].T), np.einsum("aik,jk->aij", X, Y[0])),
    (
        "linear",
        lambda: ops.linear(X, Y[0].T, SHIFT[:3]),
        np.einsum("aik,jk->aij", X, Y[0]) + SHIFT[:3],
    ),
    ("einsum", lambda: ops.einsum("ijk,ljk->il", X, Y), X.reshape(2, -1) @ Y.reshape(2, -1).T),
    ("embedding", lambda: ops.embedding(Y[0], [[2, 0]]), Y[0][[[2, 0]]]),
    ("attention", lambda: ops.attention(X, Y, Y), softmax(X @ Y.swapaxes(1, 2) / 2) @ Y),
    (
        "self_attention",
        lambda: ops.self_attention(X[..., [0, 1, 2, 3, 2, 1]], heads=1),
        softmax(X[..., :2] @ X[..., 2:].swapaxes(1, 2) / 2**0.5) @ X[..., [2, 1]],
    ),
    (
        "conv2d",
        lambda: ops.conv2d(IMAGE, WEIGHT, SHIFT[[0, 1, 2, 3, 0]], stride=2, padding=(1, 0)),
        np.einsum("nijabc,abco->nijo", windows(IMAGE, (3, 2), 2, ((1, 1), (0, 0))), WEIGHT)
        + SHIFT[[0, 1, 2, 3, 0]],
    ),
    (
        "max_pool2d",
        lambda: ops.max_pool2d(IMAGE, kernel=3, stride=2, padding=1),
        windows(IMAGE, (3, 3), 2, ((1, 1), (1, 1)), -np.inf).max(axis=(3, 4)),
    ),
    (
        "max_unpool2d",
        lambda: pooled_and_back(IMAGE, kernel=2, stride=3),
        np.where(largest_in_blocks(IMAGE) == IMAGE, IMAGE, 0),
    ),
    (
        "roi_align",  # the mean of two pixels' corner, and all of a pixel
        lambda: ops.roi_align(IMAGE[:1], boxes=[[[1, 1, 3, 2], [4, 3, 5, 4]]], size=1, samples=1),
        np.stack([IMAGE[0, 1:2, 1:3].mean(axis=1), IMAGE[0, 3:4, 4]])[:, None],
    ),
    (
        "avg_pool2d",
        lambda: ops.avg_pool2d(IMAGE, kernel=2),
        windows(IMAGE, (2, 2), 2).mean(axis=(3, 4)),
    ),
    (
        "global_avg_pool2d",
        lambda: ops.global_avg_pool2d(IMAGE),
        IMAGE.reshape(2, 30, 4).mean(axis=1),
    ),
    (
        "relu_max_pool2d",
        lambda: ops.relu_max_pool2d(IMAGE, kernel=2),
        np.maximum(windows(IMAGE, (2, 2), 2, ((0, 0), (0, 0)), 0).max(axis=(3, 4)), 0),
    ),
    (
        "global_max_pool2d",
        lambda: ops.global_max_pool2d(IMAGE),
        IMAGE.reshape(2, 30, 4).max(axis=1),
    ),
    ("upsample_nearest2d", lambda: ops.upsample_nearest2d(IMAGE), IMAGE.repeat(2, 1).repeat(2, 2)),
    (
        "upsample_bilinear2d",  # of a ramp: quarters between the pixels, flat at the border
        lambda: ops.upsample_bilinear2d(np.arange(3.0).reshape(1, 1, 3, 1)),
        np.array([[0, 0.25, 0.75, 1.25, 1.75, 2]] * 2)[None, :, :, None],
    ),
    (
        "resize_bilinear2d",
        lambda: ops.resize_bilinear2d(IMAGE, size=(5, 3)),
        (IMAGE[:, :, ::2] + IMAGE[:, :, 1::2]) / 2,
    ),
    (
        "pixel_unshuffle",
        lambda: ops.pixel_unshuffle(IMAGE[:, :4], factor=2)[..., 0::4],
        IMAGE[:, 0:4:2, 0::2],
    ),
    ("pixel_shuffle", lambda: ops.pixel_shuffle(IMAGE, factor=2)[:, 1::2, 0::2], IMAGE[..., 2:3]),
    (
        "group_norm",
        lambda: ops.group_norm(IMAGE, SCALE, SHIFT, groups=2),
        normalised(IMAGE.reshape(2, 30, 2, 2), (1, 3)).reshape(IMAGE.shape) * SCALE + SHIFT,
    ),
    (
        "instance_norm",
        lambda: ops.instance_norm(IMAGE, SCALE, SHIFT),
        normalised(IMAGE, (1, 2)) * SCALE + SHIFT,
    ),
    ("layer_norm", lambda: ops.layer_norm(X, SCALE, SHIFT), normalised(X, -1) * SCALE + SHIFT),
    (
        "batch_norm",
        lambda: ops.batch_norm(IMAGE, SCALE, SHIFT, eps=0.1),
        normalised(IMAGE, (0, 1, 2), 0.1) * SCALE + SHIFT,
    ),
    (
        "batch_norm",
        lambda: ops.batch_norm(X, SCALE, SHIFT, mean=SHIFT, var=SCALE, eps=0.5),
        (X - SHIFT) / np.sqrt(SCALE + 0.5) * SCALE + SHIFT,
    ),
    ("mse_loss", lambda: ops.mse_loss(X, Y), ((X - Y) ** 2).mean()),
    ("l1_loss", lambda: ops.l1_loss(X, Y, reduction="sum"), np.abs(X - Y).sum()),
    (
        "huber_loss",
        lambda: ops.huber_loss(X, Y, delta=0.5, reduction="none"),
        np.vectorize(lambda r: r * r / 2 if abs(r) < 0.5 else 0.5 * abs(r) - 0.125)(X - Y),
    ),
    ("cross_entropy", lambda: ops.cross_entropy(X, LABELS), cross_entropies(ONE_HOT).mean()),
    (
        "cross_entropy",
        lambda: ops.cross_entropy(X, LABELS, label_smoothing=0.2, ignore_index=2),
        cross_entropies(0.8 * ONE_HOT + 0.05)[LABELS != 2].mean(),
    ),
    (
        "binary_cross_entropy_with_logits",
        lambda: ops.binary_cross_entropy_with_logits(X, SIGMOID(Y)),
        -(SIGMOID(Y) * np.log(SIGMOID(X)) + SIGMOID(-Y) * np.log(SIGMOID(-X))).mean(),
    ),
    (
        "kl_diagonal_gaussians",
        lambda: ops.kl_diagonal_gaussians(X, np.log(4.0), 0.0, 0.0, reduction="none"),
        0.5 * (4 + X**2 - 1 - np.log(4)),
    ),
]


@pytest.mark.parametrize("name, op, expected", VALUES, ids=[row[0] for row in VALUES])
def test_values(name, op, expected):
    value = op()
    assert value.shape == np.shape(expected)
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_no_op_is_left_out():
    elsewhere = {"conv_transpose2d", "dropout"}  # below
    assert {name for name, *_ in VALUES} == set(ops.__all__) - elsewhere


@pytest.mark.parametrize("stride, padding, extra", [(1, 0, 0), (2, 1, 1), (3, 0, 2), (2, 2, 0)])
def test_conv_transpose2d_paints_its_kernel_at_every_pixel(stride, padding, extra):
    y, weight = R.standard_normal((2, 3, 4, 5)), R.standard_normal((4, 3, 5, 2))
    canvas = np.zeros((2, 2 * stride + 4 + extra, 3 * stride + 3 + extra, 2))
    for i in range(3):
        for j in range(4):
            place = np.s_[:, i * stride : i * stride + 4, j * stride : j * stride + 3]
            canvas[place] += np.einsum("nc,abco->nabo", y[:, i, j], weight)
    h, w = canvas.shape[1:3]
    canvas = canvas[:, padding : h - padding, padding : w - padding]
    x = ops.conv_transpose2d(y, weight, stride=stride, padding=padding, output_padding=extra)
    np.testing.assert_allclose(x.numpy(), canvas, atol=1e-12)


def test_same_padding_puts_the_odd_pixel_at_the_end():
    x = np.arange(1.0, 5).reshape(1, 1, 4, 1)
    weight = np.array([1.0, 10, 100, 1000]).reshape(1, 4, 1, 1)
    y = ops.conv2d(x, weight, padding="same").numpy()  # one zero before, two after
    np.testing.assert_array_equal(y.ravel(), [3210, 4321, 432, 43])
    y = ops.conv2d(x, weight, padding="same", stride=2).numpy()  # one before, one after
    np.testing.assert_array_equal(y.ravel(), [3210, 432])
    up = ops.conv_transpose2d(x, weight[:, :2], padding="same", stride=(1, 3)).numpy()
    np.testing.assert_array_equal(up.ravel(), [1, 10, 0, 2, 20, 0, 3, 30, 0, 4, 40, 0])


def test_dropout_drops_a_share_and_scales_the_rest():
    x = Tensor(np.ones((400, 500), np.float32), requires_grad=True)
    y = ops.dropout(x, p=0.3, rng=np.random.default_rng(1))
    kept = y.numpy() != 0
    assert abs(kept.mean() - 0.7) < 5 * math.sqrt(0.3 * 0.7 / x.size)
    np.testing.assert_allclose(y.numpy()[kept], 1 / 0.7, rtol=1e-6)
    y.sum().backward()  # the same values are dropped on the way back
    np.testing.assert_array_equal(backend.to_numpy(x.grad) != 0, kept)
    again = ops.dropout(x, p=0.3, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(again.numpy(), y.numpy())
    assert (ops.dropout(x, p=0.3).numpy() != ops.dropout(x, p=0.3).numpy()).any()


def test_batch_norm_reports_its_statistics():
    found = []
    ops.batch_norm(IMAGE, SCALE, SHIFT, statistics=found)
    np.testing.assert_allclose(backend.to_numpy(found[0]), IMAGE.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(backend.to_numpy(found[1]), IMAGE.var(axis=(0, 1, 2)))


def test_a_boolean_mask_hides_keys():
    mask = np.array([[True, False, True], [False, True, False], [True, True, True]])
    y = ops.attention(X, Y, Y, mask=mask).numpy()
    np.testing.assert_allclose(y[:, 1], Y[:, 1])  # one key left: its value
    np.testing.assert_allclose(y[:, 2], ops.attention(X, Y, Y).numpy()[:, 2])
    first = softmax((X[:, 0] * Y[:, [0, 2]].swapaxes(0, 1)).sum(-1).T / 2)
    np.testing.assert_allclose(y[:, 0], np.einsum("nk,nkd->nd", first, Y[:, [0, 2]]))


def test_attention_of_any_layout_has_the_same_gradients():
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.standard_normal((3, 2, 2, 5, 4)).astype(np.float32).swapaxes(0, 1) for _ in "qkv"
    )
    wanted = None
    for arrays in ((q, k, v), [np.ascontiguousarray(a) for a in (q, k, v)]):
        tensors = [Tensor(backend.asarray(a), requires_grad=True) for a in arrays]
        ops.attention(*tensors).sum().backward()
        got = [backend.to_numpy(t.grad) for t in tensors]
        wanted = wanted or got
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_self_attention_of_an_empty_batch():
    x = Tensor(backend.asarray(np.zeros((0, 4, 24), np.float32)), requires_grad=True)
    assert ops.self_attention(x, heads=2).shape == (0, 4, 8)
