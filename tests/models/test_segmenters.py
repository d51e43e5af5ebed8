"""The three segmenters: a logit for each class and pixel, gradients, what each design promises."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import data, ops, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.models import EncoderDecoder, FullResolution, SlidingWindow
from tinydiff.models.segmenter.sliding_window import STRIDES
from tinydiff.vision import mean_iou

NARROW = (4,) * (len(STRIDES) + 1)
UPS = [{"up": up, "skips": skips} for up in ("transpose", "unpool") for skips in (True, False)]


def small(design, **settings):
    td.seed(0)
    usual = {
        EncoderDecoder: {"widths": (8, 8, 16), "blocks": (1, 0, 1), "patch": 1},
        FullResolution: {"width": 8, "blocks": 1},
        SlidingWindow: {"widths": NARROW},
    }
    return spoken(design(3, 5, **{**usual[design], **settings}))


def spoken(model):
    """The model with a last layer, and blocks, that no longer say zero."""
    for name, parameter in model.named_parameters():
        if not to_numpy(parameter.data).any():
            values = np.random.default_rng(len(name)).standard_normal(parameter.shape)
            parameter.data[...] = asarray(0.3 * values.astype(parameter.dtype))
    return model


def pictures(n=2, size=(8, 12), dtype=np.float32):
    return np.random.default_rng(1).standard_normal((n, *size, 3)).astype(dtype)


PATCHES = {"patch": 2, "widths": (8, 16), "blocks": (1, 1)}
ALL = [
    (FullResolution, {}),
    (SlidingWindow, {}),
    *((EncoderDecoder, settings) for settings in (*UPS, PATCHES)),
]
every_design = pytest.mark.parametrize(("design", "settings"), ALL)


@every_design
def test_a_logit_for_each_class_and_pixel(design, settings):
    model = small(design, **settings)
    y = model(asarray(pictures()))
    assert y.shape == (2, 8, 12, 5)
    assert to_numpy(y.data).std() > 0.01


@every_design
def test_begins_with_all_classes_alike(design, settings):
    td.seed(0)
    model = design(3, 5, **settings)
    size = 8 if design is EncoderDecoder else 3
    assert not to_numpy(model(asarray(pictures(1, (size, size)))).data).any()


@every_design
def test_gradients_of_the_loss(design, settings):
    """With a picture that shows nothing but background, and one pixel that does not count."""
    model = small(design, **settings).astype(np.float64)
    size = (4, 8) if design is EncoderDecoder else (3, 2)
    x, masks = pictures(2, size, np.float64), np.random.default_rng(2).integers(0, 5, (2, *size))
    masks[0], masks[1, 0, 0] = 0, -1

    def loss(x):
        return ops.cross_entropy(model(x), masks, ignore_index=-1)

    td.gradcheck(loss, x)
    loss(asarray(x)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and to_numpy(parameter.grad).any(), name


@every_design
def test_each_picture_is_looked_at_by_itself(design, settings):
    model, x = small(design, **settings).astype(np.float64), asarray(pictures(3, dtype=np.float64))
    y = model(x).numpy()
    assert np.abs(y[0] - y[1]).max() > 0.01
    np.testing.assert_allclose(model(x[::-1]).numpy(), y[::-1], atol=1e-12)
    np.testing.assert_allclose(model(x[1:2]).numpy(), y[1:2], atol=1e-12)


# What each design is about


def test_one_window_by_one_says_the_same_as_all_at_once():
    model = small(SlidingWindow).astype(np.float64)
    x = asarray(pictures(2, (5, 7), np.float64))
    at_once = model(x).numpy()
    np.testing.assert_allclose(model.one_by_one(x, batch=9).numpy(), at_once, atol=1e-12)
    assert np.abs(at_once - at_once[:, :1, :1]).max() > 0.01


def test_both_ways_have_the_same_weights():
    model = small(SlidingWindow)
    weights = sum(p.size for p in model.window.parameters())
    assert model.num_parameters() == weights
    other = SlidingWindow(3, 5, widths=NARROW)
    other.load_state_dict(model.state_dict())
    x = asarray(pictures())
    np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())


def test_a_window_is_what_lies_around_a_pixel():
    model, x = small(SlidingWindow), pictures(2, (6, 9))
    assert model.width == 45
    image, row, column = np.array([[1, 0, 1], [0, 5, 3], [2, 8, 4]])
    windows = model.windows(x, image, row, column).numpy()
    assert windows.shape == (3, 45, 45, 3)
    np.testing.assert_array_equal(windows[:, 22, 22], x[image, row, column])
    np.testing.assert_array_equal(windows[2, 19:25, 18:27], x[1])
    assert np.count_nonzero(windows[2]) == x[1].size


def test_a_pixel_sees_its_window_and_no_further():
    model, x = small(SlidingWindow).astype(np.float64), pictures(1, (50, 3), np.float64)
    y = model(asarray(x)).numpy()
    changed = x.copy()
    changed[0, 25:] += 1
    differs = np.abs(model(asarray(changed)).numpy() - y).max(axis=(0, 2, 3)) > 1e-12
    assert differs.argmax() == 25 - 22


def test_learns_from_windows_anywhere(rng):
    model, x = small(SlidingWindow), pictures(2, (3, 4))
    masks = np.arange(24).reshape(2, 3, 4)
    logits, labels = model.at_random(asarray(x), masks, 200, rng=rng)
    assert logits.shape == (200, 1, 1, 5) and set(labels.ravel()) == set(range(24))
    everywhere = model(asarray(x)).numpy().reshape(24, 5)
    np.testing.assert_allclose(logits.numpy()[:, 0, 0], everywhere[labels.ravel()], atol=1e-5)


@pytest.mark.parametrize("up", ["transpose", "unpool"])
def test_skips_bring_what_the_way_down_has_lost(up):
    """Without blocks and skips, what is not the largest of its 2 × 2 pixels is forgotten."""
    x = asarray(pictures(1, (4, 4)))
    for skips in (True, False):
        model = small(EncoderDecoder, widths=(8, 8), blocks=(0, 0), up=up, skips=skips)
        stem = model.down[0](model.stem(x)).numpy()
        lost = stem < stem.reshape(1, 2, 2, 2, 2, 8).max(axis=(2, 4)).repeat(2, 1).repeat(2, 2)
        model.stem.forward = lambda _, seen=stem: td.Tensor(asarray(seen))
        model.down = td.nn.ModuleList([td.nn.Sequential(), model.down[1]])
        y = model(x).numpy()
        model.stem.forward = lambda _, seen=stem - lost: td.Tensor(asarray(seen))
        same = np.allclose(model(x).numpy(), y, atol=1e-5)
        assert same != skips


def test_unpooling_puts_values_back_where_they_were():
    """Two pictures that differ in where the largest pixels are only: the output moves with them."""
    for up in ("transpose", "unpool"):
        model = small(EncoderDecoder, widths=(8, 8), blocks=(0, 0), up=up, skips=False)
        model.merge = td.nn.ModuleList([td.nn.Sequential()])
        y = []
        for pixel in ((0, 0), (1, 1)):
            seen = np.zeros((1, 4, 4, 8), np.float32)
            seen[0, pixel[0] :: 2, pixel[1] :: 2] = 1
            model.stem.forward = lambda _, seen=seen: td.Tensor(asarray(seen))
            model.down = td.nn.ModuleList([td.nn.Sequential(), model.down[1]])
            y.append(model(asarray(pictures(1, (4, 4)))).numpy())
        moved = np.roll(y[0], (1, 1), axis=(1, 2))
        assert np.allclose(moved, y[1], atol=1e-5) == (up == "unpool")
        assert np.allclose(y[0], y[1], atol=1e-5) == (up == "transpose")


@pytest.mark.parametrize("shape", [(8, 12, 3), (2, 8, 12, 1)])
def test_refused_pictures(shape):
    for design in (FullResolution, SlidingWindow, EncoderDecoder):
        with pytest.raises(ValueError, match=r": x has shape .*expected \(N, H, W, 3\)"):
            small(design)(asarray(np.zeros(shape, np.float32)))


@pytest.mark.parametrize("size", [(8, 10), (6, 12)])
def test_refused_sizes(size):
    with pytest.raises(ValueError, match=r"EncoderDecoder: .* with H and W divisible by 4"):
        small(EncoderDecoder)(asarray(pictures(1, size)))


@pytest.mark.parametrize(
    ("design", "settings", "message"),
    [
        (EncoderDecoder, {"widths": ()}, "widths is empty"),
        (EncoderDecoder, {"widths": (8, 12, 8)}, "norm_groups 8 does not divide widths 12"),
        (EncoderDecoder, {"blocks": (1, 1)}, "one number of blocks"),
        (EncoderDecoder, {"blocks": (1, 1, -1)}, "blocks ≥ 0"),
        (EncoderDecoder, {"up": "bilinear"}, "up is 'bilinear', expected one of transpose, unpool"),
        (FullResolution, {"width": 12}, "norm_groups 8 does not divide widths 12"),
        (FullResolution, {"width": 0}, "widths is 0"),
        (FullResolution, {"norm_groups": 0}, "norm_groups is 0"),
        (FullResolution, {"blocks": -1}, "blocks is -1, expected an int ≥ 0"),
        (SlidingWindow, {"widths": (8, 8)}, r"expected 7 widths, got \(8, 8\)"),
    ],
)
def test_refused_settings(design, settings, message):
    with pytest.raises(ValueError, match=message):
        small(design, **settings)


def test_no_classes_are_refused():
    for design in (FullResolution, SlidingWindow, EncoderDecoder):
        with pytest.raises(ValueError, match="num_classes is 0"):
            design(3, 0)


def test_learns_three_scenes_by_heart():
    scenes = data.shapes("train", 3, side=32, objects=(1, 2))
    masks = data.semantic_masks(scenes.labels, scenes.instances)
    td.seed(1)  # 0.95 after 60 steps, 1.0 here: far enough, however a processor rounds
    model = EncoderDecoder(3, 11, widths=(16, 32), blocks=(1, 1), up="unpool", patch=1)
    x, optimiser = asarray(to_float(scenes.images)), optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(90):
        optimiser.zero_grad()
        ops.cross_entropy(model(x), masks).backward()
        optimiser.step()
    with td.no_grad():
        found = to_numpy(model(x).data).argmax(axis=-1)
    assert mean_iou(found, masks, 11) > 0.7
