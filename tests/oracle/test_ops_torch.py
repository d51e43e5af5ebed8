"""Every op that PyTorch has too: the same values and the same gradients, on random shapes.

PyTorch's layouts are its own (channels first), so images are turned round on the way in and out.
Convolutions have a file to themselves, test_conv_torch.py.
"""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, ops
from tinydiff.backend import to_numpy

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # small arrays: more would wait for each other
F = torch.nn.functional
pytestmark = pytest.mark.oracle

TOLERANCE = {np.float64: 1e-11, np.float32: 1e-5}  # relative to the largest value


def first(x):
    """Channels last to channels first."""
    return x.movedim(-1, 1)


def last(x):
    return x.movedim(1, -1)


def on_images(fn):
    return lambda x, *rest: last(fn(first(x), *rest))


def table(rows):
    """Rows name: (PyTorch's function, what to draw the input from) as test parameters."""
    return [pytest.param(name, *row, id=name) for name, row in rows.items()]


def normal(rng, *shape):
    return rng.standard_normal(shape)


def wide(rng, *shape):
    return 5 * rng.standard_normal(shape)


def positive(rng, *shape):
    return rng.uniform(0.1, 5, shape)


def with_ties(rng, *shape):
    """Whole numbers: what does not matter is how equal values are broken, but that it is alike."""
    return rng.integers(-2, 3, shape).astype(float)


def compare(ours, theirs, arrays, dtype, rng, tolerance=None):
    """Value and gradients of ours(*Tensors) and theirs(*torch tensors)."""
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in map(np.asarray, arrays)]
    floating = [a.dtype.kind == "f" for a in arrays]
    # In memory order of its own, to see that strides do not matter
    strided = [np.array(a, order="F") for a in arrays]
    mine = [Tensor(a, requires_grad=f) for a, f in zip(strided, floating, strict=True)]
    other = [torch.tensor(a, requires_grad=f) for a, f in zip(arrays, floating, strict=True)]
    y, z = ours(*mine), theirs(*other)
    assert y.dtype == dtype
    g = rng.standard_normal(y.shape).astype(dtype)
    y.backward(g)
    leaves = [t for t, f in zip(other, floating, strict=True) if f]
    grads = torch.autograd.grad(z, leaves, torch.tensor(g))
    found = [y.data, *[t.grad for t, f in zip(mine, floating, strict=True) if f]]
    for a, t in zip(found, [z, *grads], strict=True):
        expected = t.detach().numpy()
        assert a.dtype == dtype
        assert a.shape == expected.shape
        a = to_numpy(a)
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(expected))
        allowed = (tolerance or TOLERANCE[dtype]) * max(1, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(a, expected, rtol=0, atol=allowed)


def shapes(rng, count=4, ndim=(0, 5)):
    """Random shapes; lengths of 1 are frequent."""
    for _ in range(count):
        n = int(rng.integers(*ndim))
        yield tuple(int(rng.choice([1, 1, 2, 3, 5, 8])) for _ in range(n))


both_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])

ELEMENTWISE = {
    "neg": (torch.neg, normal),
    "square": (torch.square, normal),
    "exp": (torch.exp, normal),
    "log": (torch.log, positive),
    "sqrt": (torch.sqrt, positive),
    "abs": (torch.abs, with_ties),
    "sin": (torch.sin, wide),
    "cos": (torch.cos, wide),
    "tanh": (torch.tanh, wide),
    "sigmoid": (torch.sigmoid, wide),
    "relu": (torch.relu, with_ties),
    "leaky_relu": (F.leaky_relu, wide),
    "elu": (F.elu, wide),
    "silu": (F.silu, wide),
    "gelu": (F.gelu, wide),
    "softplus": (F.softplus, wide),
}
WITH_SETTINGS = [
    ("leaky_relu", {"slope": 0.3}, lambda x: F.leaky_relu(x, 0.3)),
    ("elu", {"alpha": 2.0}, lambda x: F.elu(x, 2.0)),
    ("gelu", {"approximate": True}, lambda x: F.gelu(x, approximate="tanh")),
    ("clip", {"low": -1, "high": 1}, lambda x: torch.clamp(x, -1, 1)),
    ("clip", {"high": 0}, lambda x: torch.clamp(x, max=0)),
]


@both_dtypes
@pytest.mark.parametrize("name, theirs, draw", table(ELEMENTWISE))
def test_elementwise(name, theirs, draw, dtype, rng):
    for shape in shapes(rng):
        compare(getattr(ops, name), theirs, [draw(rng, *shape)], dtype, rng)


@both_dtypes
@pytest.mark.parametrize("name, settings, theirs", WITH_SETTINGS)
def test_elementwise_settings(name, settings, theirs, dtype, rng):
    for shape in shapes(rng):
        x = with_ties(rng, *shape) if name == "clip" else wide(rng, *shape)
        compare(lambda t: getattr(ops, name)(t, **settings), theirs, [x], dtype, rng)


@both_dtypes
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "power", "maximum", "minimum"])
def test_binary(name, dtype, rng):
    theirs = {"power": torch.pow}.get(name) or getattr(torch, name)
    for shape in shapes(rng, 8):
        # Either may be stretched along some axes, or lack leading ones.
        a = [1 if rng.random() < 0.3 else n for n in shape]
        b = [1 if rng.random() < 0.3 else n for n in shape][int(rng.integers(0, len(shape) + 1)) :]
        draw = {"power": positive, "div": positive}.get(name, with_ties)
        compare(getattr(ops, name), theirs, [draw(rng, *a), draw(rng, *b)], dtype, rng)


@both_dtypes
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, 2.5])
def test_power_of_a_number(exponent, dtype, rng):
    x = positive(rng, 3, 4)
    compare(lambda t: t**exponent, lambda t: t**exponent, [x], dtype, rng)
    compare(lambda t: 1.5**t, lambda t: 1.5**t, [x], dtype, rng)
    if exponent >= 1 and exponent == int(exponent):
        compare(lambda t: t**exponent, lambda t: t**exponent, [with_ties(rng, 9)], dtype, rng)


@both_dtypes
def test_where(dtype, rng):
    arrays = [rng.random((3, 1)) < 0.5, normal(rng, 4), normal(rng, 2, 1, 1)]
    compare(ops.where, torch.where, arrays, dtype, rng)


REDUCTIONS = {
    "sum": (torch.sum, normal),
    "mean": (torch.mean, normal),
    "max": (torch.amax, with_ties),
    "min": (torch.amin, with_ties),
    "logsumexp": (torch.logsumexp, wide),
}


@both_dtypes
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name, theirs, draw", table(REDUCTIONS))
def test_reductions(name, theirs, draw, keepdims, dtype, rng):
    for shape in shapes(rng, 6, (1, 5)):
        axes = tuple(rng.permutation(len(shape))[: rng.integers(1, len(shape) + 1)].tolist())
        axes = tuple(a - len(shape) if rng.random() < 0.5 else a for a in axes)
        compare(
            lambda t, a=axes: getattr(ops, name)(t, axis=a, keepdims=keepdims),
            lambda t, a=axes: theirs(t, dim=a, keepdim=keepdims),
            [draw(rng, *shape)],
            dtype,
            rng,
        )


@both_dtypes
@pytest.mark.parametrize("correction", [0, 1])
def test_var(correction, dtype, rng):
    for axes in ((0,), (1, -1), (0, 1, 2)):
        compare(
            lambda t, a=axes: ops.var(t, axis=a, correction=correction),
            lambda t, a=axes: torch.var(t, dim=a, correction=correction),
            [normal(rng, 3, 5, 2) + 10],
            dtype,
            rng,
        )


@both_dtypes
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmaxes(name, dtype, rng):
    for shape in shapes(rng, 6, (1, 5)):
        axis = int(rng.integers(-len(shape), len(shape)))
        compare(
            lambda t, a=axis: getattr(ops, name)(t, axis=a),
            lambda t, a=axis: getattr(F, name)(t, dim=a),
            [30 * normal(rng, *shape)],
            dtype,
            rng,
        )


SHAPE_CHANGES = {
    "reshape": (lambda x: ops.reshape(x, shape=(4, -1)), lambda x: x.reshape(4, -1)),
    "transpose": (lambda x: x.transpose(1, -1, 0), lambda x: x.permute(1, -1, 0)),
    "T": (lambda x: x.T, lambda x: x.permute(2, 1, 0)),
    "expand": (lambda x: ops.expand(x, shape=(2, 2, 3, 4)), lambda x: x.expand(2, 2, 3, 4)),
    "flip": (lambda x: ops.flip(x, axis=(0, -1)), lambda x: x.flip((0, -1))),
    "concat": (lambda x: ops.concat([x, 2 * x], axis=1), lambda x: torch.cat([x, 2 * x], 1)),
    "stack": (lambda x: ops.stack([x, 2 * x], axis=2), lambda x: torch.stack([x, 2 * x], 2)),
    "split": (lambda x: ops.split(x, [1, 2], axis=1)[1], lambda x: x.split([1, 2], 1)[1]),
    "getitem": (lambda x: x[1, ..., 1:3, None], lambda x: x[1, ..., 1:3, None]),
    "fancy": (
        lambda x: x[[0, 1, 1], :, [3, 0, 0]],
        lambda x: x[[0, 1, 1], :, [3, 0, 0]],
    ),
    "mask": (
        lambda x: x[np.array([True, False]), [[0], [2]]],
        lambda x: x[torch.tensor([True, False]), [[0], [2]]],
    ),
    "take": (
        lambda x: ops.take(x, index=[2, 0, 2], axis=1),
        lambda x: x.index_select(1, torch.tensor([2, 0, 2])),
    ),
    "pad": (
        lambda x: ops.pad(x, [(0, 1), (2, 0), (1, 1)], value=3.0),
        lambda x: F.pad(x, (1, 1, 2, 0, 0, 1), value=3.0),
    ),
    "reflect": (
        lambda x: ops.pad(x, [(0, 0), (2, 1), (3, 0)], mode="reflect"),
        lambda x: F.pad(x[None], (3, 0, 2, 1), mode="reflect")[0],
    ),
}


@both_dtypes
@pytest.mark.parametrize("ours, theirs", SHAPE_CHANGES.values(), ids=SHAPE_CHANGES)
def test_shape_changes(ours, theirs, dtype, rng):
    compare(ours, theirs, [normal(rng, 2, 3, 4)], dtype, rng)


@both_dtypes
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather(axis, dtype, rng):
    x = normal(rng, 3, 4, 5)
    index = rng.integers(0, x.shape[axis], (3, 4, 5))
    compare(
        lambda t, i: ops.gather(t, i, axis=axis),
        lambda t, i: torch.gather(t, axis, i),
        [x, index],
        dtype,
        rng,
    )


@both_dtypes
def test_products(dtype, rng):
    for a, b in (((3, 4), (4, 2)), ((2, 3, 4), (4, 5)), ((5, 1, 3, 4), (2, 4, 1))):
        compare(ops.matmul, torch.matmul, [normal(rng, *a), normal(rng, *b)], dtype, rng)
    compare(
        ops.linear,
        lambda x, w, b: F.linear(x, w.T, b),
        [normal(rng, 2, 3, 4), normal(rng, 4, 5), normal(rng, 5)],
        dtype,
        rng,
    )
    for s, *sizes in (
        ("nqd,nkd->nqk", (2, 3, 4), (2, 5, 4)),
        ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
        ("...ij,...kj->...ik", (2, 3, 4), (5, 4)),
        ("ij,kl->il", (2, 3), (2, 3)),
    ):
        arrays = [normal(rng, *size) for size in sizes]
        compare(
            lambda *a, s=s: ops.einsum(s, *a),
            lambda *a, s=s: torch.einsum(s, *a),
            arrays,
            dtype,
            rng,
        )


@both_dtypes
def test_embedding(dtype, rng):
    arrays = [normal(rng, 6, 3), rng.integers(0, 6, (4, 5))]
    compare(ops.embedding, lambda w, i: F.embedding(i, w), arrays, dtype, rng)


@both_dtypes
@pytest.mark.parametrize("mask", [None, "boolean", "added"])
def test_attention(mask, dtype, rng):
    for lead, t, s, d, e in (((2, 3), 5, 7, 8, 8), ((), 1, 1, 1, 1), ((2,), 9, 3, 4, 6)):
        arrays = [normal(rng, *lead, t, d), normal(rng, *lead, s, d), normal(rng, *lead, s, e)]
        if mask == "boolean":
            arrays.append((rng.random((t, s)) < 0.6) | (np.arange(s) == 0))
        elif mask == "added":
            arrays.append(normal(rng, *lead, t, s))
        compare(
            lambda q, k, v, m=None: ops.attention(q, k, v, mask=m),
            lambda q, k, v, m=None: F.scaled_dot_product_attention(q, k, v, attn_mask=m),
            arrays,
            dtype,
            rng,
        )


@both_dtypes
def test_self_attention(dtype, rng):
    for n, t, heads, d in ((2, 5, 1, 8), (3, 49, 2, 4), (2, 260, 3, 16)):

        def theirs(qkv, shape=(n, t, 3, heads, d)):
            q, k, v = qkv.reshape(shape).permute(2, 0, 3, 1, 4)
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

        for size in (1, 4):  # small scores, and some too large to take their exponential
            arrays = [size * normal(rng, n, t, 3 * heads * d)]
            compare(
                lambda qkv, h=heads: ops.self_attention(qkv, heads=h), theirs, arrays, dtype, rng
            )


POOLS = [(2, None, 0), (3, 2, 1), ((2, 3), 1, 0), (2, 3, 0), (3, (1, 2), (0, 1)), (1, 1, 0)]


@both_dtypes
@pytest.mark.parametrize("kernel, stride, padding", POOLS)
def test_pools(kernel, stride, padding, dtype, rng):
    settings = {"kernel": kernel, "stride": stride, "padding": padding}
    for shape in ((2, 5, 7, 3), (1, 4, 4, 1), (1, 3, 3, 2)):
        for ours, theirs, draw in (
            (ops.max_pool2d, F.max_pool2d, normal),
            (ops.max_pool2d, F.max_pool2d, with_ties),  # the first of equals takes it all
            (ops.avg_pool2d, F.avg_pool2d, normal),
        ):
            compare(
                lambda x, f=ours: f(x, **settings),
                on_images(lambda x, f=theirs: f(x, kernel, stride, padding)),
                [draw(rng, *shape)],
                dtype,
                rng,
            )


@both_dtypes
@pytest.mark.parametrize("kernel, stride", [(2, None), (2, 3), ((2, 3), None), (3, 3), (1, 1)])
def test_relu_and_pool_in_one(kernel, stride, dtype, rng):
    for shape in ((2, 5, 7, 3), (1, 4, 4, 1), (1, 3, 3, 2)):
        for draw in (normal, with_ties):
            compare(
                lambda x: ops.relu_max_pool2d(x, kernel=kernel, stride=stride),
                on_images(lambda x: F.max_pool2d(F.relu(x), kernel, stride)),
                [draw(rng, *shape)],
                dtype,
                rng,
            )


@both_dtypes
@pytest.mark.parametrize("kernel, stride, padding", [p for p in POOLS if p[1] in (None, p[0])])
def test_unpooling(kernel, stride, padding, dtype, rng):
    """Windows that do not overlap: where they do, PyTorch keeps one of the values that meet."""
    settings = {"kernel": kernel, "stride": stride, "padding": padding}

    def ours(x):
        switches = []
        y = ops.max_pool2d(x, switches=switches, **settings)
        return ops.max_unpool2d(ops.square(y), switches=switches[0])

    def theirs(x):
        y, indices = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
        return F.max_unpool2d(y**2, indices, kernel, stride, padding, x.shape[2:])

    for shape in ((2, 5, 7, 3), (1, 4, 4, 1), (1, 3, 3, 2)):
        for draw in (normal, with_ties):
            compare(ours, on_images(theirs), [draw(rng, *shape)], dtype, rng)


@both_dtypes
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_roi_align(samples, dtype, rng):
    """Against PyTorch's bilinear samples, at the same points; a mean over each bin."""
    x = normal(rng, 3, 6, 9, 2)
    low = [rng.uniform(-1, 4, (k, 2)) for k in (2, 0, 3)]
    boxes = [np.hstack([a, a + rng.uniform(0, 6, a.shape)]) for a in low]
    h, w = 3, 2

    def theirs(x):
        crops = []
        for picture, (x0, y0, x1, y1) in ((n, b) for n in range(3) for b in boxes[n]):
            rows = y0 + (np.arange(h * samples) + 0.5) / (h * samples) * (y1 - y0)
            columns = x0 + (np.arange(w * samples) + 0.5) / (w * samples) * (x1 - x0)
            places = np.stack(np.meshgrid(2 * columns / 9 - 1, 2 * rows / 6 - 1), axis=-1)
            grid = torch.tensor(places[None].astype(dtype))
            seen = F.grid_sample(
                x[picture : picture + 1], grid, padding_mode="border", align_corners=False
            )
            crops.append(F.avg_pool2d(seen, samples))
        return torch.cat(crops)

    compare(
        lambda x: ops.roi_align(x, boxes=boxes, size=(h, w), samples=samples),
        on_images(theirs),
        [x],
        dtype,
        rng,
    )


@both_dtypes
@pytest.mark.parametrize("shape", [(2, 5, 6, 3), (1, 1, 1, 2), (1, 1, 7, 1), (3, 4, 4, 4)])
def test_resampling(shape, dtype, rng):
    x = normal(rng, *shape)
    for scale in (1, 2, 3):
        for ours, mode in (
            (ops.upsample_nearest2d, "nearest"),
            (ops.upsample_bilinear2d, "bilinear"),
        ):
            compare(
                lambda t, f=ours, s=scale: f(t, scale=s),
                on_images(lambda t, m=mode, s=scale: F.interpolate(t, scale_factor=s, mode=m)),
                [x],
                dtype,
                rng,
            )
    for size in ((3, 4), (1, 1), (11, 2)):
        compare(
            lambda t, s=size: ops.resize_bilinear2d(t, size=s),
            on_images(lambda t, s=size: F.interpolate(t, size=s, mode="bilinear")),
            [x],
            dtype,
            rng,
        )
    compare(
        ops.global_avg_pool2d,
        lambda t: F.adaptive_avg_pool2d(first(t), 1)[..., 0, 0],
        [x],
        dtype,
        rng,
    )
    compare(ops.global_max_pool2d, lambda t: torch.amax(t, (1, 2)), [x], dtype, rng)


@both_dtypes
@pytest.mark.parametrize("r", [1, 2, 3])
def test_pixel_shuffles(r, dtype, rng):
    compare(
        lambda x: ops.pixel_shuffle(x, factor=r),
        on_images(lambda x: F.pixel_shuffle(x, r)),
        [normal(rng, 2, 3, 4, 5 * r * r)],
        dtype,
        rng,
    )
    compare(
        lambda x: ops.pixel_unshuffle(x, factor=r),
        on_images(lambda x: F.pixel_unshuffle(x, r)),
        [normal(rng, 2, 3 * r, 4 * r, 5)],
        dtype,
        rng,
    )


def scaled(rng, channels):
    return [positive(rng, channels), normal(rng, channels)]


@both_dtypes
@pytest.mark.parametrize("shape", [(2, 5, 3, 8), (3, 1, 1, 8), (2, 7, 8), (3, 16, 16, 24)])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_group_norm(shape, groups, dtype, rng):
    arrays = [normal(rng, *shape) * 3 + 2, *scaled(rng, shape[-1])]
    alone = shape[1] == 1 and groups == shape[-1]
    if alone and dtype == np.float32:
        # One value a group: its variance, 0, becomes 1/√ε = 316, which also magnifies PyTorch's
        # rounding (and ours); the exact answer is the bias.
        y = ops.group_norm(*map(Tensor, [a.astype(dtype) for a in arrays]), groups=groups).numpy()
        np.testing.assert_allclose(y, np.broadcast_to(arrays[2], shape), atol=1e-3)
        return
    compare(
        lambda x, w, b: ops.group_norm(x, w, b, groups=groups),
        on_images(lambda x, w, b: F.group_norm(x, groups, w, b)),
        arrays,
        dtype,
        rng,
    )
    compare(
        lambda x, w, b: ops.group_norm(x, w, b, groups=groups, silu=True),
        on_images(lambda x, w, b: F.silu(F.group_norm(x, groups, w, b))),
        arrays,
        dtype,
        rng,
    )


@both_dtypes
def test_other_norms(dtype, rng):
    arrays = [normal(rng, 3, 5, 4, 6) * 3 + 2, *scaled(rng, 6)]
    running = [normal(rng, 6), positive(rng, 6)]
    as_dtype = [a.astype(dtype) for a in running]
    for ours, theirs in (
        (ops.layer_norm, lambda x, w, b: F.layer_norm(x, (6,), w, b)),
        (ops.instance_norm, on_images(lambda x, w, b: F.instance_norm(x, None, None, w, b))),
        (
            ops.batch_norm,
            on_images(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True)),
        ),
        (
            lambda x, w, b: ops.batch_norm(x, w, b, mean=as_dtype[0], var=as_dtype[1]),
            on_images(lambda x, w, b: F.batch_norm(x, *map(torch.tensor, as_dtype), w, b)),
        ),
    ):
        compare(ours, theirs, arrays, dtype, rng)
    compare(
        lambda x, w, b: ops.layer_norm(x, w, b, eps=0.1),
        lambda x, w, b: F.layer_norm(x, (6,), w, b, eps=0.1),
        [normal(rng, 4, 6), *scaled(rng, 6)],
        dtype,
        rng,
    )


LOSSES = {
    "mse_loss": (F.mse_loss, normal),
    "l1_loss": (F.l1_loss, normal),
    "huber_loss": (F.huber_loss, wide),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, positive),
}


@both_dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, theirs, draw", table(LOSSES))
def test_losses(name, theirs, draw, reduction, dtype, rng):
    for shape in shapes(rng):
        target = rng.random(shape) if draw is positive else draw(rng, *shape)
        compare(
            lambda a, b: getattr(ops, name)(a, b, reduction=reduction),
            lambda a, b: theirs(a, b, reduction=reduction),
            [wide(rng, *shape), target],
            dtype,
            rng,
        )


@both_dtypes
def test_huber_beyond_one(dtype, rng):
    compare(
        lambda a, b: ops.huber_loss(a, b, delta=0.3),
        lambda a, b: F.huber_loss(a, b, delta=0.3),
        [normal(rng, 20), normal(rng, 20)],
        dtype,
        rng,
    )


@both_dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ignore", [None, 2, -100])
def test_cross_entropy(reduction, smoothing, ignore, dtype, rng):
    labels = rng.integers(0, 5, (3, 4))
    if ignore is not None:
        labels[1, :2] = ignore
    compare(
        lambda z, y: ops.cross_entropy(
            z, y, label_smoothing=smoothing, ignore_index=ignore, reduction=reduction
        ),
        lambda z, y: F.cross_entropy(
            first(z),
            y,
            label_smoothing=smoothing,
            ignore_index=-99 if ignore is None else ignore,
            reduction=reduction,
        ),
        [wide(rng, 3, 4, 5), labels],
        dtype,
        rng,
    )


@both_dtypes
def test_kl_of_gaussians(dtype, rng):
    def theirs(m1, l1, m2, l2):
        normals = [torch.distributions.Normal(m, torch.exp(v / 2)) for m, v in ((m1, l1), (m2, l2))]
        return torch.distributions.kl_divergence(*normals).mean()

    arrays = [normal(rng, 4, 3) for _ in range(4)]
    compare(ops.kl_diagonal_gaussians, theirs, arrays, dtype, rng)


LINKS = [  # of a graph: functions of two earlier results, in our words and in PyTorch's
    lambda lib, a, b: lib.tanh(a + b),
    lambda lib, a, b: lib.sin(a * b),
    lambda lib, a, b: a - 0.3 * b,
    lambda lib, a, b: lib.maximum(a, b),
    lambda lib, a, b: a / (b * b + 1.0),
    lambda lib, a, b: lib.exp(lib.sin(a)) + a,
    lambda lib, a, b: lib.sigmoid(a.reshape(1, -1) @ a.reshape(-1, 1))[0, 0] * b,
]


@pytest.mark.parametrize("number", range(40))
def test_random_graphs(number):
    """Forty ops that take any earlier results: shared, broadcast, some leading nowhere."""
    rng = np.random.default_rng(number)
    shapes = [(3, 4), (4,), (3, 1), (1, 1), ()]
    arrays = [rng.standard_normal(shapes[int(rng.integers(5))]) for _ in range(4)]
    mine = [Tensor(a, requires_grad=i != 3) for i, a in enumerate(arrays)]
    other = [torch.tensor(a, requires_grad=i != 3) for i, a in enumerate(arrays)]
    for _ in range(40):
        link = LINKS[int(rng.integers(len(LINKS)))]
        i, j = rng.integers(max(0, len(mine) - 8), len(mine), 2)
        mine.append(link(ops, mine[i], mine[j]))
        other.append(link(torch, other[i], other[j]))
    inside = [k for k in range(10, 40) if mine[k].requires_grad]
    wanted = [0, 1, 2, *rng.choice(inside, 5, replace=False)]
    loss, expected_loss = ops.sum(mine[-1]), other[-1].sum()
    found = td.grad(loss, [mine[k] for k in wanted], retain_graph=True)
    expected = torch.autograd.grad(
        expected_loss, [other[k] for k in wanted], allow_unused=True, retain_graph=True
    )
    loss.backward()
    expected_loss.backward()
    found += [np.zeros(t.shape) if t.grad is None else t.grad for t in mine[:3]]
    for a, b in zip(found, [*expected, *[t.grad for t in other[:3]]], strict=True):
        b = np.zeros(a.shape) if b is None else b.numpy()
        allowed = 1e-12 * max(1, np.abs(b).max())
        np.testing.assert_allclose(to_numpy(a), b, rtol=1e-9, atol=allowed)
