"""A segmenter in one piece: its settings, its checkpoint, and pictures of any size."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import data, ops, optim, training, vision
from tinydiff.backend import asarray
from tinydiff.images import to_float
from tinydiff.vision import Segmenter
from tinydiff.vision.segmenter import DESIGNS

NETWORKS = {
    "window": {"widths": [4] * 7},
    "full": {"width": 8, "blocks": 1},
    "encoder-decoder": {"widths": [8, 8, 16], "blocks": [1, 0, 1], "patch": 1},
}
PICTURES = np.random.default_rng(0).integers(0, 256, (19, 8, 12, 3), np.uint8)
every_design = pytest.mark.parametrize("design", NETWORKS)


def settings(design="encoder-decoder"):
    return {"classes": ["circle", "star"], "design": design, "network": NETWORKS[design]}


def segmenter_that_speaks(design="encoder-decoder"):
    """Untrained, but of the opinion that there is something here and there."""
    td.seed(0)
    segmenter = Segmenter(settings(design))
    head = segmenter.model.window[-1] if design == "window" else segmenter.model.head
    values = np.random.default_rng(1).standard_normal(head.weight.shape)
    head.weight.data[...] = asarray(values.astype(np.float32))
    return segmenter


def test_there_is_a_network_for_each_design():
    assert set(DESIGNS) == set(NETWORKS)


@every_design
def test_the_class_of_the_largest_logit(design):
    segmenter = segmenter_that_speaks(design)
    segmenter.model.train()
    masks = segmenter(PICTURES)  # in two batches
    logits = segmenter.model(asarray(to_float(PICTURES))).numpy()
    assert masks.shape == (19, 8, 12) and masks.dtype == np.int64
    ranks = np.sort(logits, axis=-1)
    sure = ranks[..., -1] > ranks[..., -2] + 1e-4
    assert sure.mean() > 0.9 and set(masks.ravel()) == {0, 1, 2}
    np.testing.assert_array_equal(masks[sure], logits.argmax(axis=-1)[sure])
    assert not segmenter.model.training
    assert segmenter.classes == ("circle", "star")


def test_pictures_of_any_size():
    segmenter = segmenter_that_speaks()
    assert segmenter(np.tile(PICTURES[:1], (1, 3, 2, 1))).shape == (1, 24, 24)
    assert segmenter(PICTURES[:0]).shape == (0, 8, 12)


def test_a_picture_without_objects():
    """No class but the background: a loss that falls, a mask of zeros, an IoU that others lack."""
    nothing = data.Scenes(
        "nothing",
        PICTURES[:2],
        np.full((2, 1), data.NOTHING),
        np.zeros((2, 1, 4), np.float32),
        ("circle", "star"),
        np.zeros((2, 8, 12), np.uint8),
    )
    masks = data.semantic_masks(nothing.labels, nothing.instances)
    assert not masks.any()
    segmenter = segmenter_that_speaks()
    model, x = segmenter.model, asarray(to_float(nothing.images))
    before = segmenter(nothing.images)
    iou = vision.class_iou(vision.confusion_matrix(before, masks, 3))
    assert 0 < iou[0] < 1 and iou[1] == iou[2] == 0  # said to be somewhere, and are nowhere
    optimiser = optim.AdamW(model.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = ops.cross_entropy(model(x), masks)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and losses[-1] < 0.1 * losses[0]
    after = segmenter(nothing.images)
    assert not after.any()
    iou = vision.class_iou(vision.confusion_matrix(after, masks, 3))
    np.testing.assert_array_equal(iou, [1, np.nan, np.nan])
    assert vision.mean_iou(after, masks, 3) == 1


@every_design
def test_comes_back_from_a_checkpoint_with_its_averaged_weights(design, tmp_path):
    segmenter = segmenter_that_speaks(design)
    model = segmenter.model
    trainer = training.Trainer(
        model,
        lambda x: (model(x) ** 2).sum(),
        [(to_float(PICTURES[:2]),)] * 3,
        optim.AdamW(model.parameters(), lr=0.1),
        ema=optim.EMA(model, decay=0.5),
    )
    for _ in training.train(trainer, 3, tmp_path, settings=settings(design)):
        pass
    loaded = Segmenter.load(tmp_path / "checkpoint.npz")
    x = asarray(to_float(PICTURES[:2]))
    last = model(x).numpy()
    with trainer.ema.swapped():
        np.testing.assert_allclose(loaded.model(x).numpy(), model(x).numpy(), atol=1e-5)
        np.testing.assert_array_equal(loaded(PICTURES), segmenter(PICTURES))
    assert np.abs(loaded.model(x).numpy() - last).max() > 1e-3


def test_what_is_no_segmenter(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist: train with"):
        Segmenter.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(training.CheckpointError, match="not a tinydiff checkpoint"):
        Segmenter.load(tmp_path / "text.npz")
    td.save(tmp_path / "other.npz", {"settings": {"unet": {}}, "model": {}, "ema": None})
    with pytest.raises(training.CheckpointError, match=r"not a segmenter's, .*lack classes"):
        Segmenter.load(tmp_path / "other.npz")
    td.save(tmp_path / "empty.npz", {"settings": settings(), "model": {}, "ema": None})
    with pytest.raises(training.CheckpointError, match="not a segmenter's"):
        Segmenter.load(tmp_path / "empty.npz")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": []}, "classes: expected at least 1"),
        ({"design": "u-net"}, "design: expected one of window, full, .*, got 'u-net'"),
        ({"network": {"widths": [12], "blocks": [1]}}, "norm_groups"),
    ],
)
def test_refused_settings(changed, message):
    with pytest.raises(ValueError, match=message):
        Segmenter({**settings(), **changed})
    with pytest.raises(ValueError, match="they lack design, network"):
        Segmenter({"classes": ["a"]})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (PICTURES[:, :7], "expected .* divisible by 4"),
        (PICTURES[..., :1], r"\(N, H, W, 3\), got \(19, 8, 12, 1\)"),
        (PICTURES[0], r"got \(8, 12, 3\)"),
        ([1], "got list"),
    ],
)
def test_refused_pictures(images, message):
    with pytest.raises(ValueError, match=message):
        segmenter_that_speaks()(images)
    with pytest.raises(TypeError, match="uint8"):
        segmenter_that_speaks()(PICTURES / 255)
