"""One table of cases for every public op: what is differentiated, and at which inputs.

An input is a function of a random generator, so that every run of a case can draw afresh.  Inputs
keep away from places where an op has no derivative.  Settings are exercised here; what an op
refuses is in test_refusals.py, what its values are in tests/oracle/.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from tinydiff import ops


@dataclasses.dataclass(frozen=True)
class Case:
    op: str
    fn: Callable
    inputs: tuple[Callable, ...]

    def arrays(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [draw(rng) for draw in self.inputs]


def normal(*shape):
    return lambda rng: rng.standard_normal(shape)


def away(*shape, places=(0.0,)):
    """Normal numbers, none closer than 0.05 to the places where the op has a kink."""

    def draw(rng):
        x = rng.standard_normal(shape)
        for place in places:
            near = np.abs(x - place) < 0.05
            x = np.where(near, place + np.where(x < place, -0.1, 0.1), x)
        return x

    return draw


def positive(*shape):
    return lambda rng: rng.uniform(0.3, 2.0, shape)


def distinct(*shape):
    """Numbers at least 0.1 apart: which is the largest does not hang by a thread."""
    return lambda rng: (rng.permutation(int(np.prod(shape))) * 0.1 - 1).reshape(shape)


def distinct_but_zero(*shape):
    """Likewise, of both signs, and none at the kink of ReLU"""
    return lambda rng: distinct(*shape)(rng) - 0.05


def integers(high, *shape, low=0):
    return lambda rng: rng.integers(low, high, shape)


def booleans(*shape):
    return lambda rng: rng.random(shape) < 0.5


def constant(values):
    return lambda rng: np.array(values)


def looks(*shape):
    """A boolean mask for attention: at least one key a query."""
    return lambda rng: (rng.random(shape) < 0.5) | (np.arange(shape[-1]) == 0)


def _elementwise(name, *draws, **settings):
    """The op on a matrix, an image with axes of length 1, one number, and nothing at all."""
    shapes = ((3, 5), (1, 7, 1, 2), (), (0, 3))
    return [
        Case(name, lambda *a: getattr(ops, name)(*a, **settings), tuple(d(*s) for d in draws))
        for s in shapes
    ]


def _broadcast(name, first=normal, second=normal):
    """A binary op on equal shapes and on every way of stretching one to the other."""
    shapes = [
        ((3, 4), (3, 4)),
        ((3, 4), (4,)),
        ((4,), (3, 4)),
        ((3, 1), (1, 4)),
        ((2, 1, 4), (3, 1)),
        ((), (2, 3)),
        ((1, 1), (5,)),
        ((), ()),
    ]
    op = getattr(ops, name)
    numbers = [Case(name, lambda a: op(a, 2), (first(2, 3),))]
    numbers += [Case(name, lambda a: op(0.7, a), (second(2, 3),))]
    return [Case(name, op, (first(*a), second(*b))) for a, b in shapes] + numbers


def _reductions(name, draw, axes=(None, 0, -1, (0, 2), (1, -1), [0, 1])):
    op = getattr(ops, name)
    cases = [Case(name, lambda x, a=a: op(x, axis=a), (draw(3, 1, 4),)) for a in axes]
    cases += [Case(name, lambda x: op(x, axis=1, keepdims=True), (draw(2, 3, 2),))]
    return [*cases, Case(name, lambda x: op(x, axis=0), (draw(1),))]


def _conv(shape, weight, bias=None, op=ops.conv2d, **settings):
    draws = (normal(*shape), normal(*weight)) + (() if bias is None else (normal(bias),))
    return Case(op.__name__, lambda *a: op(*a, **settings), draws)


def _transposed(*args, **settings):
    return _conv(*args, op=ops.conv_transpose2d, **settings)


def _case(name, draw, **settings):
    draws = draw if isinstance(draw, tuple) else (draw,)
    return Case(name, lambda *a: getattr(ops, name)(*a, **settings), draws)


def _unpool(shape, *, pooled, **settings):
    """Values (pooled) put back where a picture of the shape had its maxima."""
    picture = distinct(*shape)(np.random.default_rng(0))

    def unpool(y):
        switches = []
        ops.max_pool2d(picture, switches=switches, **settings)
        return ops.max_unpool2d(y, switches=switches[0])

    return Case("max_unpool2d", unpool, (normal(*pooled),))


def _losses(name, first, second):
    return [
        _case(name, (first(4, 3), second(4, 3)), reduction=r) for r in ("mean", "sum", "none")
    ] + [_case(name, (first(), second()))]


_IMAGE = normal(2, 5, 6, 3)

ARITHMETIC = [
    *_broadcast("add"),
    *_broadcast("sub"),
    *_broadcast("mul"),
    *_broadcast("div", normal, lambda *s: away(*s, places=(-0.2, 0.0, 0.2))),
    *_broadcast("power", positive, normal),
    *[Case("power", lambda x, n=n: ops.power(x, n), (away(3, 2),)) for n in (0, 1, 2, 3, -2, 2.0)],
    Case("power", lambda x: ops.power(x, np.array([0.0, 1, 2, 3])), (away(3, 4),)),
    *_broadcast("maximum", distinct, lambda *s: lambda rng: distinct(*s)(rng) + 0.05),
    *_broadcast("minimum", distinct, lambda *s: lambda rng: distinct(*s)(rng) + 0.05),
    *_elementwise("neg", normal),
    *_elementwise("square", normal),
    *_elementwise("exp", normal),
    *_elementwise("log", positive),
    *_elementwise("sqrt", positive),
    *_elementwise("abs", away),
    *_elementwise("sin", normal),
    *_elementwise("cos", normal),
    *_elementwise("clip", lambda *s: away(*s, places=(-0.5, 0.7)), low=-0.5, high=0.7),
    *_elementwise("clip", away, low=0),
    *_elementwise("clip", away, high=np.float64(0)),
    _case("where", (booleans(3, 4), normal(3, 4), normal(3, 4))),
    _case("where", (booleans(3, 1), normal(4), normal(2, 1, 1))),
    Case("where", lambda a, b: ops.where(a.data > 0, a, b), (away(5), normal(5))),
    Case("where", lambda a, b: ops.where(True, a, b), (normal(5), normal(5))),
    Case("where", lambda a: ops.where(a > 0, a, 1.5), (away(5),)),
    Case("astype", lambda x: ops.astype(x, dtype=x.dtype), (normal(3, 2),)),
]

ACTIVATIONS = [
    *_elementwise("relu", away),
    *_elementwise("leaky_relu", away),
    *_elementwise("leaky_relu", away, slope=np.float64(0.2)),
    *_elementwise("elu", away),
    *_elementwise("elu", away, alpha=0.5),
    *_elementwise("tanh", normal),
    *_elementwise("sigmoid", normal),
    *_elementwise("silu", normal),
    *_elementwise("softplus", normal),
    *_elementwise("gelu", normal),
    *_elementwise("gelu", normal, approximate=True),
    _case("softplus", constant([-700.0, -30, 0, 30, 700])),
    _case("sigmoid", constant([-700.0, -30, 0, 30, 700])),
    _case("silu", constant([-30.0, -5, 0, 5, 30])),
    _case("gelu", constant([-30.0, -5, 0, 5, 30])),
]

REDUCTIONS = [
    *_reductions("sum", normal),
    *_reductions("mean", normal),
    *_reductions("var", normal),
    *[
        Case("var", lambda x, c=c: ops.var(x, axis=1, correction=c), (normal(3, 4),))
        for c in (1, 2)
    ],
    *_reductions("max", distinct),
    *_reductions("min", distinct),
    *_reductions("logsumexp", normal),
    *[_case(n, normal(3, 1, 4), axis=a) for n in ("softmax", "log_softmax") for a in (0, 1, -1)],
    *[_case(n, normal(1)) for n in ("softmax", "log_softmax")],
    # Rows whose ranges lie far apart: a maximum taken over all of them would leave 0/0.
    *[_case(n, constant([[1e3, 1e3 + 1], [-1e3, 2 - 1e3]])) for n in ("softmax", "log_softmax")],
    *[_case("logsumexp", constant([[1e3, 1e3 + 1], [-1e3, 2 - 1e3]]))],
]

SHAPES = [
    _case("reshape", normal(2, 6), shape=(3, -1)),
    _case("reshape", normal(1, 1), shape=()),
    _case("reshape", normal(2, 6), shape=12),
    _case("transpose", normal(2, 3, 4)),
    _case("transpose", normal(2, 3, 4), axes=(1, 2, 0)),
    _case("transpose", normal(3, 3, 3), axes=(0, -1, 1)),
    _case("transpose", normal(2, 3, 4, 5), axes=(-2, 0, -1, 1)),
    _case("expand", normal(3, 1), shape=(2, 3, 4)),
    _case("expand", normal(), shape=(2, 1)),
    _case("flip", normal(2, 3, 4), axis=-1),
    _case("flip", normal(2, 3, 4), axis=(0, 2)),
    Case("concat", lambda a, b: ops.concat([a, b]), (normal(2, 3), normal(2, 1))),
    Case("concat", lambda a, b: ops.concat([a, b, a], axis=0), (normal(2, 3), normal(1, 3))),
    Case("concat", lambda a, b: ops.concat([a, b], axis=-2), (normal(2, 0), normal(1, 0))),
    Case("stack", lambda a, b: ops.stack([a, b, a]), (normal(2, 3), normal(2, 3))),
    Case("stack", lambda a, b: ops.stack([a, b], axis=-1), (normal(2, 3), normal(2, 3))),
    Case("stack", lambda a, b: ops.stack([a, b], axis=1), (normal(2, 3), normal(2, 3))),
    Case("split", lambda x: ops.split(x, 2)[1] * ops.split(x, 2)[0], (normal(3, 4),)),
    Case("split", lambda x: ops.split(x, [1, 3], axis=0)[1], (normal(4, 2),)),
    Case("split", lambda x: ops.split(x, (3, 0, 1), axis=-2)[0], (normal(4, 2),)),
    *[
        Case("getitem", lambda x, i=i: ops.getitem(x, index=i), (normal(4, 5, 3),))
        for i in (
            1,
            -1,
            (0, 1, 2),
            slice(1, None, 2),
            (slice(None, None, -1), None, 2),
            (Ellipsis, -1),
            (),
            True,
            [0, 2, 2, 0, -1],
            [],
            (slice(None), [1, 1, 4]),
            ([0, 1, 0], [2, 2, 2]),
            ([0, 1, 1], slice(1, 3), [0, 0, 2]),
            np.array([[0, 3], [3, 3]]),
            np.arange(20).reshape(4, 5) % 3 == 0,
            (slice(None), slice(None), np.array([True, False, True])),
            np.int64(2),
        )
    ],
    Case("getitem", lambda x, i: x[i], (normal(4, 2), integers(4, 6))),
    Case("getitem", lambda x: x[x > 0], (away(4, 2),)),
    _case("take", normal(3, 4), index=[3, 0, 0], axis=1),
    _case("take", normal(3, 4), index=np.array([2, -1, 1]), axis=-2),
    Case("gather", lambda x, i: ops.gather(x, i), (normal(3, 4), integers(4, 3, 6))),
    Case("gather", lambda x, i: ops.gather(x, i, axis=0), (normal(3, 4), integers(3, 5, 4))),
    Case("gather", lambda x, i: ops.gather(x, i, axis=-2), (normal(2, 3, 4), integers(3, 2, 2, 3))),
    Case("pad", lambda x: ops.pad(x, [(1, 2), (0, 3)]), (normal(2, 3),)),
    Case("pad", lambda x: ops.pad(x, [(1, 0)], value=7.0), (normal(2),)),
    Case("pad", lambda x: ops.pad(x, [(1, 2), (0, 3)], mode="reflect"), (normal(3, 4),)),
    Case("pad", lambda x: ops.pad(x, [(0, 0), (3, 3)], mode="reflect"), (normal(1, 4),)),
]

PRODUCTS = [
    *[
        _case("matmul", (normal(*a), normal(*b)))
        for a, b in (
            ((3, 4), (4, 2)),
            ((2, 3, 4), (2, 4, 5)),
            ((2, 3, 4), (4, 5)),
            ((3, 4), (2, 4, 5)),
            ((2, 1, 3, 4), (5, 4, 1)),
            ((1, 1), (1, 1)),
            ((0, 3), (3, 2)),
        )
    ],
    _case("linear", (normal(3, 4), normal(4, 2))),
    _case("linear", (normal(3, 4), normal(4, 2), normal(2))),
    _case("linear", (normal(2, 3, 4), normal(4, 1), normal(1))),
    _case("linear", (normal(4), normal(4, 2), normal(2))),
    *[
        Case("einsum", lambda *a, s=s: ops.einsum(s, *a), tuple(normal(*shape) for shape in shapes))
        for s, *shapes in (
            ("ij,jk->ik", (3, 4), (4, 2)),
            ("ij,jk->ik", (3, 4), (1, 2)),
            ("ij,j->i", (2, 1), (3,)),
            ("nqd,nkd->nqk", (2, 3, 4), (2, 5, 4)),
            ("ij->ji", (3, 4)),
            ("ij->", (3, 4)),
            ("ij,j->i", (3, 4), (4,)),
            ("i,j->ij", (3,), (4,)),
            ("ij,kl->il", (2, 3), (2, 3)),
            ("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
            ("...i,...i->...", (2, 3, 4), (3, 4)),
            ("ij,ij->ij", (3, 1), (3, 4)),
            ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
            ("i,i,i->", (3,), (3,), (3,)),
            (",ij->ij", (), (2, 3)),
        )
    ],
    Case("embedding", ops.embedding, (normal(4, 3), integers(4, 2, 5))),
    Case("embedding", ops.embedding, (normal(4, 3), integers(4))),
    _case("attention", (normal(3, 4), normal(5, 4), normal(5, 2))),
    _case("attention", (normal(2, 3, 4), normal(2, 1, 4), normal(2, 1, 4))),
    _case("attention", (normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4))),
    Case(
        "attention",
        lambda q, k, v, m: ops.attention(q, k, v, mask=m),
        (normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 2), looks(3, 5)),
    ),
    Case(
        "attention",
        lambda q, k, v, m: ops.attention(q, k, v, mask=m),
        (normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 2), normal(2, 1, 5)),
    ),
    _case("self_attention", (normal(2, 3, 12),), heads=1),
    _case("self_attention", (normal(2, 5, 18),), heads=3),
]

CONVOLUTIONS = [
    _conv((2, 5, 6, 3), (3, 3, 3, 4)),
    _conv((2, 5, 6, 3), (3, 3, 3, 4), 4, padding=1),
    _conv((1, 7, 4, 2), (2, 3, 2, 5), 5, stride=(2, 1), padding=(0, 2)),
    _conv((1, 9, 8, 2), (3, 2, 2, 3), dilation=(2, 3), padding=2),
    _conv((2, 5, 5, 4), (3, 3, 2, 6), 6, groups=2, padding="same"),
    _conv((2, 5, 6, 3), (3, 3, 1, 6), groups=3, stride=2, padding="same"),
    _conv((1, 8, 9, 1), (2, 2, 1, 1), stride=3),
    _conv((1, 1, 1, 1), (1, 1, 1, 1), 1),
    _conv((2, 4, 3, 5), (1, 1, 5, 2), 2),
    _conv((1, 6, 7, 2), (4, 4, 2, 3), stride=2, padding="same"),
    _conv((1, 8, 12, 16), (3, 3, 16, 17), 17, padding=1),
    _transposed((2, 3, 4, 3), (3, 3, 3, 4)),
    _transposed((2, 3, 4, 3), (3, 3, 3, 4), 4, stride=2, padding=1, output_padding=1),
    _transposed((1, 4, 3, 2), (2, 3, 2, 5), 5, stride=(2, 1), padding=(0, 1)),
    _transposed((1, 3, 2, 2), (3, 2, 2, 3), dilation=(2, 3), output_padding=(1, 2)),
    _transposed((2, 3, 3, 4), (3, 3, 4, 3), 6, groups=2, stride=2, padding="same"),
    _transposed((2, 3, 4, 3), (4, 4, 3, 2), 2, stride=2, padding="same"),
    _transposed((1, 2, 3, 1), (2, 2, 1, 1), stride=3),
    _transposed((1, 1, 1, 1), (1, 1, 1, 1), 1, stride=2, padding="same"),
]

IMAGES = [
    _case("max_pool2d", distinct(2, 4, 6, 3), kernel=2),
    _case("max_pool2d", distinct(2, 5, 7, 2), kernel=3, stride=2, padding=1),
    _case("max_pool2d", distinct(1, 5, 4, 1), kernel=(2, 3), stride=1),
    _case("max_pool2d", distinct(1, 5, 7, 2), kernel=2, stride=3),
    _case("max_pool2d", distinct(1, 5, 3, 2), kernel=3, stride=2, padding="same"),
    _case("relu_max_pool2d", distinct_but_zero(2, 4, 6, 3), kernel=2),
    _case("relu_max_pool2d", distinct_but_zero(2, 5, 7, 2), kernel=3),
    _case("relu_max_pool2d", distinct_but_zero(1, 5, 7, 2), kernel=(1, 2), stride=(1, 3)),
    _unpool((2, 4, 6, 3), pooled=(2, 2, 3, 3), kernel=2),
    _unpool((2, 5, 7, 2), pooled=(2, 3, 4, 2), kernel=3, stride=2, padding=1),
    _unpool((1, 5, 7, 2), pooled=(1, 2, 2, 2), kernel=2, stride=3),
    _case("avg_pool2d", _IMAGE, kernel=2),
    _case("avg_pool2d", _IMAGE, kernel=3, stride=2, padding=1),
    _case("avg_pool2d", _IMAGE, kernel=(2, 3), stride=1, padding="same"),
    _case("avg_pool2d", normal(1, 5, 7, 2), kernel=2, stride=3),
    _case("global_avg_pool2d", _IMAGE),
    _case("global_max_pool2d", distinct(2, 3, 4, 2)),
    _case("upsample_nearest2d", _IMAGE),
    _case("upsample_nearest2d", normal(1, 1, 2, 1), scale=3),
    _case("upsample_bilinear2d", _IMAGE),
    _case("upsample_bilinear2d", normal(1, 1, 2, 1), scale=3),
    _case("resize_bilinear2d", _IMAGE, size=(7, 3)),
    _case("resize_bilinear2d", normal(1, 1, 5, 2), size=(1, 1)),
    _case("resize_bilinear2d", _IMAGE, size=4),
    *[
        _case("roi_align", _IMAGE, boxes=boxes, size=(2, 3), samples=samples)
        for samples in (1, 2)
        for boxes in (
            ([[0.3, 1.2, 4.9, 3.1], [1, 0, 2, 5]], [[-2, -1, 7.5, 9], [2.5, 1.5, 2.5, 1.5]]),
            (np.zeros((0, 4)), [[0, 0, 6, 5]]),
        )
    ],
    _case("roi_align", normal(1, 1, 1, 2), boxes=([[0, 0, 1, 1]],), size=2),
    _case("pixel_shuffle", normal(2, 2, 3, 8), factor=2),
    _case("pixel_unshuffle", normal(2, 4, 6, 3), factor=2),
    _case("pixel_unshuffle", normal(1, 3, 3, 1), factor=3),
]

_SCALE = (positive(4), normal(4))
NORMS = [
    _case("group_norm", (normal(2, 3, 5, 4), *_SCALE), groups=2),
    _case("group_norm", (normal(2, 3, 5, 4), *_SCALE), groups=1, eps=np.float64(1e-3)),
    _case("group_norm", (normal(3, 4), *_SCALE), groups=2),
    _case("group_norm", (normal(2, 3, 5, 4), *_SCALE), groups=2, silu=True),
    _case("instance_norm", (normal(2, 3, 5, 4), *_SCALE)),
    _case("layer_norm", (normal(2, 3, 4), *_SCALE)),
    _case("layer_norm", (normal(1, 4), *_SCALE), eps=1e-3),
    _case("batch_norm", (normal(2, 3, 3, 4), *_SCALE)),
    _case("batch_norm", (normal(5, 4), *_SCALE)),
    Case(
        "batch_norm",
        lambda x, w, b: ops.batch_norm(x, w, b, mean=x.data[0] * 0, var=x.data[0] * 0 + 2),
        (normal(5, 4), *_SCALE),
    ),
    Case(
        "dropout",
        lambda x: ops.dropout(x, p=0.4, rng=np.random.default_rng(5)),
        (normal(6, 7),),
    ),
    _case("dropout", normal(3, 2), p=0.0),
]

_PAIR = (normal(4, 3), normal(4, 3))
LOSSES = [
    *_losses("mse_loss", normal, normal),
    *_losses("l1_loss", distinct, lambda *s: lambda rng: distinct(*s)(rng) + 0.05),
    *_losses("huber_loss", normal, normal),
    _case("huber_loss", (normal(5, 3), normal(5, 3)), delta=np.float64(0.3)),
    *_losses("binary_cross_entropy_with_logits", normal, positive),
    _case("binary_cross_entropy_with_logits", (constant([-300.0, 300]), constant([1.0, 0]))),
    *[
        _case("kl_diagonal_gaussians", (normal(4, 3),) * 4, reduction=r)
        for r in ("mean", "sum", "none")
    ],
    Case("kl_diagonal_gaussians", lambda m, v: ops.kl_diagonal_gaussians(m, v, 0.0, 0.0), _PAIR),
    Case("kl_diagonal_gaussians", lambda m, v: ops.kl_diagonal_gaussians(m, 1, 0.5, v), _PAIR),
    *[
        Case(
            "cross_entropy",
            lambda z, y, s=s: ops.cross_entropy(z, y, **s),
            (normal(6, 4), constant([0, 3, 1, 1, 2, 0])),
        )
        for s in (
            {},
            {"label_smoothing": 0.1},
            {"ignore_index": 1},
            {"ignore_index": 0, "label_smoothing": np.float64(0.3), "reduction": "sum"},
            {"reduction": "none"},
        )
    ],
    Case("cross_entropy", ops.cross_entropy, (normal(2, 3, 5), integers(5, 2, 3))),
    Case("cross_entropy", ops.cross_entropy, (normal(4), integers(4))),
    Case("cross_entropy", ops.cross_entropy, (normal(4, 1), integers(1, 4))),
]

CASES = [
    *ARITHMETIC,
    *ACTIVATIONS,
    *REDUCTIONS,
    *SHAPES,
    *PRODUCTS,
    *CONVOLUTIONS,
    *IMAGES,
    *NORMS,
    *LOSSES,
]
