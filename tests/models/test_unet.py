"""The U-Net: size, shapes, gradients, what its output depends on, and what it refuses.

That it is Ho et al.'s network layer by layer is shown in tests/oracle/test_unet_diffusers.py.
"""

import tracemalloc

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, backend, nn, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import UNet
from tinydiff.models.blocks import ResidualBlock, SelfAttentionBlock
from tinydiff.models.spatial_transformer import SpatialTransformer

TINY = {
    "base_channels": 8,
    "channel_mults": (1, 2),
    "num_res_blocks": 1,
    "attention_levels": (1,),
    "norm_groups": 4,
}
GOLDEN = [-0.18499301, -2.11912558, -0.77923568, -0.70792540]
TEXT = {"vocabulary": 6, "length": 4, "width": 8, "depth": 1, "heads": 2}
CAPTIONS = np.array([[2, 3, 4, 0], [1, 0, 0, 0]])  # the second is none
BOTH_RESAMPLES = pytest.mark.parametrize("resample", ["conv", "transpose"])


def tiny(*, dtype=np.float64, seed=0, **settings) -> UNet:
    """A small U-Net whose zero-initialised layers are not zero, so that all its parts matter."""
    td.seed(seed)
    model = UNet(2, **{**TINY, **settings}).astype(dtype)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        noise = rng.standard_normal(parameter.shape) * (0.3 if parameter.ndim > 1 else 0.1)
        if not to_numpy(parameter.data).any() or parameter.ndim == 1:
            parameter.data += asarray(noise.astype(dtype))
    return model


def pictures(n=3, size=(8, 4), channels=2, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    return asarray(rng.standard_normal((n, *size, channels)).astype(dtype))


def run(model, x, t, cond=None):
    with td.no_grad():
        return model(x, asarray(t), None if cond is None else asarray(cond)).numpy()


def test_the_cifar10_network_of_ho_et_al_has_35_746_307_parameters():
    model = UNet(3, base_channels=128, channel_mults=(1, 2, 2, 2), attention_levels=(1,))
    assert model.num_parameters() == 35_746_307


@BOTH_RESAMPLES
@pytest.mark.parametrize(
    "settings, size",
    [
        ({"channel_mults": (1,), "attention_levels": ()}, (3, 5)),
        ({"channel_mults": (1, 2), "attention_levels": (0, 1)}, (6, 10)),
        ({"channel_mults": (2, 1, 3), "num_res_blocks": 2}, (8, 12)),
        ({"channel_mults": (1, 2, 2, 2), "attention_levels": (3,)}, (8, 16)),
        ({"channel_mults": (1, 2), "patch": 2}, (8, 12)),
        ({"channel_mults": (1,), "attention_levels": (), "patch": 3}, (9, 6)),
        ({"out_channels": 5, "num_classes": 3}, (4, 4)),
        ({"num_heads": 4}, (4, 4)),
    ],
)
def test_output_shape(resample, settings, size):
    model = tiny(resample=resample, dtype=np.float32, **settings)
    x = pictures(3, size, dtype=np.float32)
    labels = [0, 1, 3] if model.num_classes else None
    y = run(model, x, [0, 5, 999], labels)
    assert y.shape == (3, *size, settings.get("out_channels", 2)) and y.dtype == np.float32
    assert np.isfinite(y).all() and y.std() > 0.01


def test_attention_stands_at_the_chosen_levels_and_in_the_middle():
    def places(**settings):
        model = tiny(**{"channel_mults": (1, 2, 2), **settings})
        return [n for n, m in model.named_modules() if isinstance(m, SelfAttentionBlock)]

    assert places(attention_levels=()) == ["middle.1"]
    assert places(attention_levels=(1,), num_res_blocks=2) == [
        *("down.1.blocks.0.1", "down.1.blocks.1.1"),
        "middle.1",
        *("up.1.blocks.0.1", "up.1.blocks.1.1", "up.1.blocks.2.1"),
    ]


@pytest.mark.parametrize("told", [{"text": TEXT}, {"embedding": 6}])
def test_with_captions_or_a_vector_all_attention_looks_at_them(told):
    kinds = {type(m) for m in tiny(**told).modules()}
    assert SpatialTransformer in kinds and SelfAttentionBlock not in kinds
    plain, told = (
        [n for n, m in tiny(**s).named_modules() if isinstance(m, kind)]
        for s, kind in (({}, SelfAttentionBlock), (told, SpatialTransformer))
    )
    assert plain == told


def test_resample_chooses_the_layers_between_levels():
    kinds = {
        resample: [type(m) for m in tiny(resample=resample).modules()]
        for resample in ("conv", "transpose")
    }
    assert nn.Upsample in kinds["conv"] and nn.ConvTranspose2d not in kinds["conv"]
    assert nn.ConvTranspose2d in kinds["transpose"] and nn.Upsample not in kinds["transpose"]


def test_it_starts_by_predicting_zero_from_blocks_that_do_nothing():
    td.seed(0)
    model = UNet(2, **TINY)
    x = pictures(2, dtype=np.float32)
    assert not run(model, x, [3, 4]).any()
    block = ResidualBlock(8, 8, 16, groups=4, dropout=0.0)
    h, embedding = pictures(2, (4, 4), 8), pictures(1, (2, 1), 16).reshape(2, 16)
    with td.no_grad():
        y = block.astype(np.float64)(Tensor(h), Tensor(embedding)).numpy()
        attended = SelfAttentionBlock(8, groups=4).astype(np.float64)(Tensor(h)).numpy()
    np.testing.assert_array_equal(y, to_numpy(h))
    np.testing.assert_array_equal(attended, to_numpy(h))


@pytest.mark.parametrize(
    "settings, cond, size, one_by_one",
    [
        ({"resample": "transpose", "num_classes": 3}, [3, 0], (4, 4), True),
        ({"resample": "conv"}, None, (8, 4), False),
        ({"text": TEXT, "num_heads": 2, "patch": 2}, CAPTIONS, (8, 8), False),
        ({"embedding": 3}, np.array([[0.5, -1, 2], [0, 0, 0]]), (4, 4), False),
        ({"patch": 2, "num_heads": 2, "channel_mults": (2, 1)}, None, (8, 8), False),
        ({"coordinates": True, "patch": 2, "channel_mults": (2, 1)}, None, (8, 12), False),
    ],
)
def test_gradients(settings, cond, size, one_by_one):
    """Of the pictures, and of the parameters, one by one or all along one direction."""
    model, x, t = tiny(**settings), pictures(2, size), asarray([3, 700])
    cond = None if cond is None else asarray(cond)
    td.gradcheck(lambda x: model(x, t, cond), to_numpy(x))

    rng = np.random.default_rng(2)
    weights = Tensor(asarray(rng.standard_normal(x.shape)))
    loss = lambda: (model(x, t, cond) * weights).sum()
    model.zero_grad()
    loss().backward()
    parameters = dict(model.named_parameters())
    for names in [[name] for name in parameters] if one_by_one else [list(parameters)]:
        moved = [parameters[name] for name in names]
        assert all(p.grad is not None and p.grad.any() for p in moved), names
        directions = [asarray(rng.standard_normal(p.shape)) for p in moved]
        got = sum(float((p.grad * d).sum()) for p, d in zip(moved, directions, strict=True))
        sides, originals = [], [p.data for p in moved]
        for h in (1e-6, -1e-6):
            for p, original, d in zip(moved, originals, directions, strict=True):
                p.data = original + h * d
            with td.no_grad():
                sides.append(loss().item())
        for p, original in zip(moved, originals, strict=True):
            p.data = original
        expected = (sides[0] - sides[1]) / 2e-6
        assert abs(expected - got) <= 1e-5 * max(1, abs(expected)), f"{names}: {got} {expected}"


def test_the_answer_depends_on_every_word_and_their_order_not_on_padding():
    model = tiny(text=TEXT)
    captions = [[2, 3, 4, 0], [2, 4, 3, 0], [5, 3, 4, 0], [2, 3, 0, 0], [1, 0, 0, 0]]
    x = asarray(np.repeat(to_numpy(pictures(1)), 5, axis=0))
    y = run(model, x, [50] * 5, captions)
    for i in range(5):
        for j in range(i):
            assert np.abs(y[i] - y[j]).max() > 1e-3, (i, j)
    model.text.word.weight.data[0] *= -2
    np.testing.assert_allclose(run(model, x, [50] * 5, captions), y, atol=1e-12)
    order = [3, 1, 4, 0, 2]  # each picture has its own
    again = run(model, x, [50] * 5, [captions[i] for i in order])
    np.testing.assert_allclose(again, y[order], atol=1e-12)


def test_the_vector_is_added_to_the_time_and_looked_at():
    """Either way alone, the picture depends on it, and on each of its numbers."""
    model, x = tiny(embedding=3), pictures(1)
    for silent in (model.tokens, model.meaning):
        kept = silent.weight.data
        silent.weight.data = 0 * kept
        y = run(model, x, [50], [[1.0, 2.0, 3.0]])
        for i in range(3):
            vector = np.array([[1.0, 2.0, 3.0]])
            vector[0, i] = 0
            assert np.abs(run(model, x, [50], vector) - y).max() > 1e-3, i
        silent.weight.data = kept


@BOTH_RESAMPLES
def test_every_parameter_learns_in_float32(resample):
    model = tiny(resample=resample, dtype=np.float32, channel_mults=(1, 2, 3), num_classes=2)
    y = model(pictures(3, dtype=np.float32), asarray([0, 1, 999]), asarray([0, 1, 2]))
    ops.square(y).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == np.float32 and parameter.grad.any(), name


def test_each_image_is_answered_by_itself():
    """Permuting pictures, times and labels permutes the answers; a batch of one agrees."""
    model = tiny(num_classes=4)
    x, t, cond = pictures(5), np.array([0, 10, 10, 500, 999]), np.array([0, 1, 2, 4, 3])
    y = run(model, x, t, cond)
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(run(model, x[order], t[order], cond[order]), y[order], atol=1e-12)
    for i in range(5):
        one = slice(i, i + 1)
        np.testing.assert_allclose(run(model, x[one], t[one], cond[one]), y[one], atol=1e-12)


def test_the_answer_depends_on_time_and_on_nothing_else_about_it():
    model, x = tiny(), pictures(1)
    same = asarray(np.repeat(to_numpy(x), 4, axis=0))
    y = run(model, same, [7, 8, 7, 900])
    np.testing.assert_allclose(y[0], y[2], atol=1e-12)
    assert np.abs(y[0] - y[1]).max() > 1e-4  # neighbouring times can be told apart
    assert np.abs(y[0] - y[3]).max() > 1e-2
    np.testing.assert_array_equal(run(model, same, np.array([7.0, 8.0, 7.0, 900.0])), y)
    between = run(model, x, np.array([7.5]))
    assert np.abs(between[0] - y[0]).max() > 1e-5 and np.abs(between[0] - y[1]).max() > 1e-5


def test_the_answer_depends_on_the_label_and_none_is_a_label_too():
    model = tiny(num_classes=3)
    x = asarray(np.repeat(to_numpy(pictures(1)), 4, axis=0))
    t, labels = [50] * 4, [0, 1, 2, 3]
    y = run(model, x, t, labels)
    for i in range(4):
        for j in range(i):
            assert np.abs(y[i] - y[j]).max() > 1e-2, (i, j)
    assert model.label.weight.shape == (4, 32)
    model(x[:2], asarray(t[:2]), asarray([3, 1])).sum().backward()
    used = to_numpy(model.label.weight.grad).any(axis=1)
    np.testing.assert_array_equal(used, [False, True, False, True])


def test_a_patch_stem_is_the_same_network_on_unshuffled_pictures():
    patched = tiny(patch=2, num_classes=2)
    plain = UNet(8, **TINY, num_classes=2).astype(np.float64)
    plain.load_state_dict(patched.state_dict())
    x, t, cond = pictures(2, (12, 8)), [5, 6], [0, 2]
    inside = run(plain, ops.pixel_unshuffle(Tensor(x), factor=2).data, t, cond)
    shuffled = ops.pixel_shuffle(Tensor(asarray(inside)), factor=2).numpy()
    np.testing.assert_allclose(run(patched, x, t, cond), shuffled, atol=1e-12)


def test_coordinates_are_two_channels_more():
    """From the first row to the last, and the first column to the last, whatever the size."""
    told, rows, columns = tiny(coordinates=True), 8, 12
    plain = UNet(4, 2, **TINY).astype(np.float64)
    plain.load_state_dict(told.state_dict())
    x, t = pictures(2, (rows, columns)), [5, 6]
    where = np.zeros((2, rows, columns, 2))
    where[..., 0] = np.linspace(-1, 1, rows)[:, None]
    where[..., 1] = np.linspace(-1, 1, columns)
    given = asarray(np.concatenate([to_numpy(x), where], axis=3))
    np.testing.assert_allclose(run(told, x, t), run(plain, given, t), rtol=0, atol=1e-12)


def test_self_attention_against_its_equation():
    block = SelfAttentionBlock(6, groups=2, heads=3).astype(np.float64)
    rng = np.random.default_rng(0)
    for parameter in block.parameters():
        parameter.data += asarray(rng.standard_normal(parameter.shape))
    x = pictures(2, (3, 2), 6)
    with td.no_grad():
        got = block(Tensor(x)).numpy()
        normal = block.norm(Tensor(x)).numpy().reshape(2, 6, 6)
    weights = {name: to_numpy(p.data) for name, p in block.named_parameters()}
    qkv = normal @ weights["qkv.weight"] + weights["qkv.bias"]
    q, k, v = np.split(qkv, 3, axis=2)
    heads = []
    for head in range(3):
        own = slice(2 * head, 2 * head + 2)
        scores = np.exp(q[..., own] @ k[..., own].transpose(0, 2, 1) / np.sqrt(2))
        heads.append(scores / scores.sum(axis=2, keepdims=True) @ v[..., own])
    out = np.concatenate(heads, axis=2) @ weights["proj.weight"] + weights["proj.bias"]
    np.testing.assert_allclose(got, to_numpy(x) + out.reshape(2, 3, 2, 6), atol=1e-12)


def test_a_state_dict_makes_the_same_network():
    one, other = tiny(seed=0, num_classes=2), tiny(seed=1, num_classes=2)
    x, t, cond = pictures(2), [1, 2], [0, 2]
    assert np.abs(run(one, x, t, cond) - run(other, x, t, cond)).max() > 0.1
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(run(one, x, t, cond), run(other, x, t, cond))
    with pytest.raises(ValueError, match=r"stem\.weight has shape"):
        tiny(num_classes=2, patch=2).load_state_dict(one.state_dict())


def test_dropout_acts_in_training_only():
    model, x, t = tiny(dropout=0.5), pictures(2), [5, 6]
    first, second = run(model, x, t), run(model, x, t)
    assert np.abs(first - second).max() > 1e-2
    model.eval()
    still = run(model, x, t)
    np.testing.assert_array_equal(still, run(model, x, t))
    without = tiny(dropout=0.0)
    without.load_state_dict(model.state_dict())
    before = backend.rng.bit_generator.state
    np.testing.assert_array_equal(run(without, x, t), still)
    assert backend.rng.bit_generator.state == before  # no dropout, no numbers drawn


@BOTH_RESAMPLES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("told", [({"num_classes": 3}, [0, 3]), ({"text": TEXT}, CAPTIONS)])
def test_recompute_changes_no_bit(resample, dtype, told):
    """Loss, gradients and the random stream, of a network with everything in it."""
    settings = {"dropout": 0.3, "patch": 2, "attention_levels": (0, 1), **told[0]}
    model = tiny(dtype=dtype, resample=resample, num_res_blocks=2, **settings)
    x, t, cond = pictures(2, (8, 16), dtype=dtype), asarray([3, 700]), asarray(told[1])
    results = []
    for model.recompute in (False, True):
        td.seed(5)
        model.zero_grad()
        image = Tensor(x, requires_grad=True)
        loss = ops.square(model(image, t, cond)).sum()
        loss.backward()
        found = {name: to_numpy(p.grad).copy() for name, p in model.named_parameters()}
        results.append({"x": to_numpy(image.grad), "loss": loss.numpy(), **found})
        results[-1]["next draw"] = backend.rng.random()
    plain, again = results
    for name, value in plain.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


@pytest.mark.skipif(backend.name != "numpy", reason="tracemalloc sees the host only")
def test_recompute_halves_the_memory():
    peaks = []
    model = UNet(3, **{**TINY, "num_res_blocks": 3, "base_channels": 16, "dropout": 0.1})
    x, t = pictures(4, (32, 32), 3, np.float32), asarray([1, 2, 3, 4])
    for model.recompute in (False, True):
        for _ in range(2):  # the first step makes gradients and scratch
            tracemalloc.start()
            ops.square(model(x, t)).sum().backward()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        peaks.append(peak)
    assert peaks[1] < 0.5 * peaks[0], peaks


def test_several_times_are_told_apart():
    model, x = tiny(times=2), pictures(3)
    t = np.array([[3, 500], [7, 7], [0, 42.5]])
    y = run(model, x, t)
    for column in (0, 1):
        moved = t.copy()
        moved[0, column] += 10
        other = run(model, x, moved)
        assert np.abs(other[0] - y[0]).max() > 1e-3
        np.testing.assert_allclose(other[1:], y[1:], atol=1e-12)
    swapped = run(model, x, t[:, ::-1])
    assert np.abs(swapped[0] - y[0]).max() > 1e-3
    np.testing.assert_allclose(swapped[1], y[1], atol=1e-12)
    with pytest.raises(ValueError, match=r"t has shape \(3,\), expected 2 per image \(3, 2\)"):
        model(x, t[:, 0])
    with pytest.raises(ValueError, match="times"):
        tiny(times=0)


def test_a_host_array_and_a_tensor_are_both_pictures():
    model, x, t = tiny(dtype=np.float32), pictures(2, dtype=np.float32), [1, 2]
    with td.no_grad():
        tensor = model(Tensor(x), asarray(t)).numpy()
    np.testing.assert_array_equal(run(model, to_numpy(x), np.array(t)), tensor)


@pytest.mark.parametrize(
    "shape, t, cond, message",
    [
        ((2, 8, 6, 2), [1, 2], None, r"\(2, 8, 6, 2\).*divisible by 4; pad the images"),
        ((2, 7, 8, 2), [1, 2], None, r"\(2, 7, 8, 2\).*divisible by 4"),
        ((2, 8, 8, 3), [1, 2], None, r"\(2, 8, 8, 3\), expected \(N, H, W, 2\)"),
        ((8, 8, 2), [1, 2], None, r"\(8, 8, 2\), expected \(N, H, W, 2\)"),
        ((2, 8, 8, 2), [1], None, r"t has shape \(1,\), expected one per image \(2,\)"),
        ((2, 8, 8, 2), 1, None, r"t has shape \(\)"),
        ((2, 8, 8, 2), [1, 2], [0, 1], r"cond has shape \(2,\), expected no cond"),
    ],
)
def test_refused_inputs(shape, t, cond, message):
    model = tiny(dtype=np.float32, channel_mults=(1, 1, 1))
    x = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=message):
        model(x, np.array(t), None if cond is None else np.array(cond))


@pytest.mark.parametrize(
    "cond, message",
    [
        (None, r"cond is None, expected labels \(N,\), 3 for none"),
        ([0], r"cond has shape \(1,\), expected labels \(N,\), 3 for none for N = 2"),
        ([[0], [1]], r"cond has shape \(2, 1\)"),
        ([0, 4], "embedding: .*4"),
        ([-1, 0], "index runs from -1"),
        ([0.5, 1.0], "must hold integers"),
    ],
)
def test_refused_labels(cond, message):
    model = tiny(dtype=np.float32, num_classes=3)
    x = np.zeros((2, 4, 4, 2), np.float32)
    with pytest.raises((ValueError, TypeError), match=message):
        model(x, np.array([1, 2]), None if cond is None else np.array(cond))


@pytest.mark.parametrize(
    "cond, message",
    [
        (None, r"cond is None, expected tokens \(N, M\) for N = 2"),
        ([0, 1], r"cond has shape \(2,\), expected tokens \(N, M\)"),
        ([[2, 0, 0, 0]], r"cond has shape \(1, 4\), expected tokens \(N, M\) for N = 2"),
        ([[2, 0, 0, 0], [0, 0, 0, 0]], "a word in each row"),
        ([[2, 0, 0, 0], [6, 0, 0, 0]], "embedding: .*6"),
    ],
)
def test_refused_captions(cond, message):
    model = tiny(dtype=np.float32, text=TEXT)
    x = np.zeros((2, 4, 4, 2), np.float32)
    with pytest.raises(ValueError, match=message):
        model(x, np.array([1, 2]), None if cond is None else np.array(cond))


@pytest.mark.parametrize(
    "cond, message",
    [
        (None, r"cond is None, expected vectors \(N, 3\), 0 for none for N = 2"),
        ([0.0, 1.0], r"cond has shape \(2,\), expected vectors \(N, 3\)"),
        ([[0.0, 1.0]] * 2, r"cond has shape \(2, 2\), expected vectors"),
        ([[0.0, 1.0, 2.0]], r"cond has shape \(1, 3\), expected vectors"),
    ],
)
def test_refused_vectors(cond, message):
    x = np.zeros((2, 4, 4, 2), np.float32)
    with pytest.raises(ValueError, match=message):
        tiny(dtype=np.float32, embedding=3)(x, np.array([1, 2]), cond and np.array(cond))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"text": TEXT, "num_classes": 3}, "num_classes and text"),
        ({"text": TEXT, "embedding": 3}, "embedding and text, expected one or none"),
        ({"embedding": 0}, "embedding is 0"),
        ({"text": TEXT, "num_heads": 3}, "num_heads 3 does not divide"),
        ({"attention_levels": (2,)}, r"attention_levels \(2,\) must lie in 0 … 1"),
        ({"attention_levels": (-1,)}, "attention_levels"),
        ({"channel_mults": ()}, r"channel_mults \(\)"),
        ({"base_channels": 2, "norm_groups": 1}, "base_channels is 2.*even number ≥ 4"),
        ({"base_channels": 9, "norm_groups": 3}, "base_channels is 9.*even number ≥ 4"),
        ({"resample": "bilinear"}, "resample is 'bilinear'"),
        ({"norm_groups": 3}, r"norm_groups=3 does not divide the channels \[8, 16\]"),
        ({"norm_groups": 0}, "norm_groups is 0"),
        ({"patch": 0}, "patch is 0"),
        ({"num_heads": 3}, "heads=3 does not divide 16 channels"),
        ({"dropout": 1.0}, "p is 1.0"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        UNet(2, **{**TINY, **settings})


def test_the_way_down_pads_below_and_right_only():
    """As Ho et al.'s TensorFlow code does with "SAME"; padding all around would shift the image."""
    layer, x = tiny().down[0].resample, pictures(2, (6, 4), 8)
    with td.no_grad():
        padded = ops.pad(Tensor(x), ((0, 0), (0, 1), (0, 1), (0, 0)))
        expected = ops.conv2d(padded, layer.weight, layer.bias, stride=2).numpy()
        np.testing.assert_allclose(layer(Tensor(x)).numpy(), expected, atol=1e-12)


def test_golden_numbers():
    """Computed when the network agreed with diffusers' to 1e-14: it must stay that network."""
    model = UNet(2, **{**TINY, "num_classes": 2}).astype(np.float64)
    for i, parameter in enumerate(model.parameters()):
        parameter.data = asarray(wave(parameter.shape, i) * (0.5 if parameter.ndim > 1 else 1))
    y = run(model, asarray(wave((2, 4, 4, 2), 0.5)), [1, 999], [0, 2])
    found = [y[0, 0, 0, 0], y[0, 3, 1, 1], y[1, 1, 2, 0], y[1, 3, 3, 1]]
    np.testing.assert_allclose(found, GOLDEN, rtol=1e-5)


def wave(shape, start):
    """Numbers in [−1, 1] without a pattern, the same everywhere."""
    return np.sin(1.7 * start + 0.37 * np.arange(np.prod(shape)) ** 1.3).reshape(shape)
