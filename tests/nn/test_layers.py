"""Layers: what they compute, how they begin, what they refuse."""

import math

import numpy as np
import pytest

import tinydiff as td
from tinydiff import nn
from tinydiff.backend import to_numpy


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def call(layer, x):
    return layer(td.Tensor(x)).numpy()


IMAGE = (2, 6, 4, 8)
LAYERS = [
    (nn.Linear(8, 3), (2, 6, 4, 3)),
    (nn.Conv2d(8, 5, 3), (2, 4, 2, 5)),
    (nn.Conv2d(8, 4, (3, 1), stride=2, padding="same", groups=4, bias=False), (2, 3, 2, 4)),
    (nn.ConvTranspose2d(8, 5, 4, stride=2, padding="same"), (2, 12, 8, 5)),
    (nn.ConvTranspose2d(8, 5, 3, stride=2, padding=1, output_padding=1), (2, 12, 8, 5)),
    (nn.GroupNorm(4, 8), IMAGE),
    (nn.GroupNorm(4, 8, silu=True), IMAGE),
    (nn.LayerNorm(8), IMAGE),
    (nn.BatchNorm2d(8), IMAGE),
    (nn.InstanceNorm2d(8), IMAGE),
    (nn.InstanceNorm2d(8, affine=True), IMAGE),
    (nn.Dropout(0.3), IMAGE),
    (nn.MaxPool2d(2), (2, 3, 2, 8)),
    (nn.AvgPool2d(3, stride=1, padding=1), IMAGE),
    (nn.GlobalAvgPool2d(), (2, 8)),
    (nn.Flatten(), (2, 192)),
    (nn.Upsample(2), (2, 12, 8, 8)),
    (nn.Upsample(3, mode="bilinear"), (2, 18, 12, 8)),
    (nn.ReLU(), IMAGE),
    (nn.LeakyReLU(0.2), IMAGE),
    (nn.ELU(), IMAGE),
    (nn.SiLU(), IMAGE),
    (nn.GELU(), IMAGE),
    (nn.GELU(approximate=True), IMAGE),
    (nn.Softplus(), IMAGE),
    (nn.Sigmoid(), IMAGE),
    (nn.Tanh(), IMAGE),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: type(v).__name__)
def test_shape_and_gradients(layer, shape):
    x = td.Tensor(random(*IMAGE), requires_grad=True)
    y = layer(x)
    assert y.shape == shape
    assert y.dtype == np.float32
    y.backward(np.random.default_rng(1).standard_normal(shape).astype(np.float32))
    assert to_numpy(x.grad).any()
    for name, parameter in layer.named_parameters():
        assert to_numpy(parameter.grad).any(), name
        parameter.grad = None


@pytest.mark.parametrize(
    ("layer", "parameter", "fan_in"),
    [
        (lambda: nn.Linear(50, 300), "weight", 50),
        (lambda: nn.Linear(50, 3000), "bias", 50),
        (lambda: nn.Conv2d(16, 64, (3, 5), groups=2), "weight", 3 * 5 * 8),
        (lambda: nn.Conv2d(16, 2000, 3), "bias", 9 * 16),
        (lambda: nn.ConvTranspose2d(32, 64, 3, groups=4), "weight", 9 * 16),
        (lambda: nn.MultiHeadAttention(64, 4).query, "weight", 128 / 6),
    ],
)
def test_parameters_begin_uniform_within_bounds(layer, parameter, fan_in):
    td.seed(0)
    values = getattr(layer(), parameter).numpy().ravel() * math.sqrt(fan_in)
    assert values.dtype == np.float32
    assert abs(values).max() == pytest.approx(1, rel=0.01)
    n = len(values)
    assert values.mean() == pytest.approx(0, abs=4 / math.sqrt(3 * n))
    assert values.var() == pytest.approx(1 / 3, rel=4 / math.sqrt(n))


def test_same_seed_same_weights():
    def weights(seed):
        td.seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.Embedding(5, 2)).state_dict()

    first, again, other = weights(3), weights(3), weights(4)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_linear_by_hand():
    layer = nn.Linear(2, 3)
    layer.load_state_dict({"weight": [[1, 2, 3], [4, 5, 6.0]], "bias": [0.5, 0, 0]})
    np.testing.assert_array_equal(call(layer, np.float32([[1, 10]])), [[41.5, 52, 63]])
    bare = nn.Linear(2, 3, bias=False)
    assert bare.bias is None
    assert list(bare.state_dict()) == ["weight"]


def test_normalisation_layers_normalise():
    x = 3 + 2 * random(4, 5, 6, 8)
    for layer, axes in (
        (nn.LayerNorm(8), 3),
        (nn.BatchNorm2d(8), (0, 1, 2)),
        (nn.InstanceNorm2d(8), (1, 2)),
        (nn.GroupNorm(1, 8), (1, 2, 3)),
    ):
        y = call(layer, x)
        np.testing.assert_allclose(y.mean(axes), 0, atol=1e-5)
        np.testing.assert_allclose(y.var(axes), 1, rtol=1e-4)
    normal = call(nn.GroupNorm(2, 8), x)
    fused = call(nn.GroupNorm(2, 8, silu=True), x)
    np.testing.assert_allclose(fused, normal / (1 + np.exp(-normal)), rtol=1e-5, atol=1e-6)


def test_batch_norms_running_statistics():
    """mean ← 0.9·mean + 0.1·batch mean; variance likewise, from the unbiased one."""
    layer = nn.BatchNorm2d(3)
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = seed + 2 * random(2, 3, 4, 3, seed=seed)
        call(layer, x)
        mean = 0.9 * mean + 0.1 * x.mean((0, 1, 2))
        var = 0.9 * var + 0.1 * x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(to_numpy(layer.running_mean), mean, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(layer.running_var), var, rtol=1e-5)
    layer.eval()
    np.testing.assert_allclose(call(layer, x), (x - mean) / np.sqrt(var + 1e-5), rtol=1e-4)
    np.testing.assert_allclose(to_numpy(layer.running_mean), mean, rtol=1e-5)
    # In evaluation one value a channel is enough, in training it has no variance.
    assert call(layer, x[:1, 0, 0]).shape == (1, 3)
    with pytest.raises(ValueError, match="more than one value"):
        call(layer.train(), x[:1, 0, 0])


def test_dropout_is_for_training():
    layer, x = nn.Dropout(0.25), np.ones((100, 100), np.float32)
    y = call(layer, x)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(call(layer.eval(), x), x)
    before = td.backend.rng.bit_generator.state
    call(nn.Dropout(0), x)
    assert td.backend.rng.bit_generator.state == before


def attention_by_hand(layer, x, context, allowed):
    """One query, one head at a time."""
    p = {k: v.astype(np.float64) for k, v in layer.state_dict().items()}
    q = x @ p["query.weight"] + p["query.bias"]
    k = context @ p["key.weight"] + p["key.bias"]
    v = context @ p["value.weight"] + p["value.bias"]
    y, d = np.zeros(q.shape), q.shape[-1] // layer.num_heads
    for n, t in np.ndindex(q.shape[:2]):
        for head in range(0, q.shape[-1], d):
            at = slice(head, head + d)
            scores = k[n, :, at] @ q[n, t, at] / math.sqrt(d)
            weights = np.exp(scores) * allowed[n, t]
            y[n, t, at] = weights / weights.sum() @ v[n, :, at]
    return y @ p["out.weight"] + p["out.bias"]


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("mask", [None, "one for all", "one each"])
def test_attention_by_hand(cross, mask):
    n, t, s = 2, 3, 4 if cross else 3
    layer = nn.MultiHeadAttention(6, 3, context_dim=5 if cross else None)
    for i, p in enumerate(layer.parameters()):
        p.data[...] = td.backend.asarray(random(*p.shape, seed=i))
    x = random(n, t, 6)
    context = random(n, s, 5, seed=9) if cross else x
    allowed = np.ones((n, t, s), bool)
    given = None
    if mask:
        allowed = np.random.default_rng(2).random((n, t, s)) < 0.5
        allowed[..., 1] = True
        allowed = allowed if mask == "one each" else np.broadcast_to(allowed[:1], allowed.shape)
        given = td.Tensor(allowed if mask == "one each" else allowed[0])
    y = layer(td.Tensor(x), td.Tensor(context) if cross else None, given)
    expected = attention_by_hand(layer, x, context, allowed)
    np.testing.assert_allclose(y.numpy(), expected, rtol=2e-4, atol=2e-4)


def test_attention_without_bias_keeps_the_outputs():
    names = nn.MultiHeadAttention(4, 2, bias=False).state_dict()
    assert list(names) == ["query.weight", "key.weight", "value.weight", "out.weight", "out.bias"]


def test_embedding_looks_up_rows():
    layer = nn.Embedding(5, 3)
    y = layer(td.Tensor(np.array([[4, 0], [4, 4]])))
    np.testing.assert_array_equal(y.numpy(), layer.weight.numpy()[[[4, 0], [4, 4]]])
    y.sum().backward()
    np.testing.assert_array_equal(to_numpy(layer.weight.grad)[:, 0], [1, 0, 0, 0, 3])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Linear(0, 3), "Linear: in_features is 0"),
        (lambda: nn.Linear(3, 2.5), "Linear: out_features is 2.5"),
        (lambda: nn.Conv2d(3, -1, 3), "Conv2d: out_channels is -1"),
        (lambda: nn.Conv2d(3, 4, 0), "Conv2d: kernel_size is 0"),
        (lambda: nn.Conv2d(6, 4, 3, groups=3), "groups 3 does not divide out_channels 4"),
        (lambda: nn.ConvTranspose2d(5, 4, 3, groups=2), "groups 2 does not divide in_channels 5"),
        (lambda: nn.GroupNorm(3, 8), "num_groups 3 does not divide num_channels 8"),
        (lambda: nn.LayerNorm(0), "LayerNorm: normalized_shape is 0"),
        (lambda: nn.BatchNorm2d(4, momentum=1.5), "BatchNorm2d: momentum is 1.5"),
        (lambda: nn.InstanceNorm2d(0), "InstanceNorm2d: num_features is 0"),
        (lambda: nn.Embedding(10, 0), "Embedding: embedding_dim is 0"),
        (lambda: nn.Dropout(1.0), "Dropout: p is 1.0"),
        (lambda: nn.MultiHeadAttention(10, 4), "num_heads 4 does not divide embed_dim 10"),
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size is 0"),
        (lambda: nn.Upsample(0), "Upsample: scale_factor is 0"),
        (lambda: nn.Upsample(mode="cubic"), "Upsample: mode is 'cubic'"),
        (
            lambda: nn.MultiHeadAttention(4, 2)(td.Tensor(random(2, 4))),
            r"MultiHeadAttention: x has shape \(2, 4\)",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()
