"""A detector with masks in one piece: settings, checkpoint, pictures; and scenes learned."""

from functools import partial

import numpy as np
import pytest

import tinydiff as td
from tinydiff import data, optim, training, vision
from tinydiff.backend import asarray
from tinydiff.images import to_float
from tinydiff.vision import MaskFinder

SETTINGS = {
    "classes": ["circle", "star"],
    "anchors": [[1.0, 1.0], [2.0, 3.0]],
    "detector": {"widths": [8, 16], "blocks": [0, 1], "patch": 2},
    "mask_head": {"width": 8, "blocks": 1},
}
PICTURES = np.random.default_rng(0).integers(0, 256, (18, 16, 24, 3), np.uint8)


def finder_that_speaks():
    """Untrained, but of the opinion that there is something here and there."""
    td.seed(0)
    finder = MaskFinder(SETTINGS)
    weight = finder.model.detector.head.weight
    weight.data[...] = asarray(np.random.default_rng(1).standard_normal(weight.shape))
    return finder


def test_finds_what_its_parts_find():
    finder = finder_that_speaks()
    found = finder(PICTURES)  # in two batches
    boxes = [o.at_least(0.02)[:100] for o in finder.finder(PICTURES)]
    assert len(found) == 18 and finder.classes == ("circle", "star")
    for n, (objects, expected) in enumerate(zip(found, boxes, strict=True)):
        np.testing.assert_array_equal(objects.boxes, expected.boxes)
        assert objects.labels.tolist() == expected.labels.tolist()
        assert objects.masks.shape == (len(expected), 16, 24)
        x = asarray(to_float(PICTURES[n : n + 1]))
        logits = finder.model(x, [expected.boxes]).numpy()
        pasted = vision.paste_masks(1 / (1 + np.exp(-logits)), expected.boxes, 16, 24)
        assert (objects.masks != pasted).mean() < 1e-3
    assert sum(map(len, found)) > 20
    assert not finder.model.training


def test_nothing_found_and_no_pictures():
    finder = MaskFinder(SETTINGS)
    finder.model.detector.head.bias.data[...] = -10
    for objects in finder(PICTURES[:3]):
        assert len(objects) == 0 and objects.masks.shape == (0, 16, 24)
    assert finder(PICTURES[:0]) == []


def test_comes_back_from_a_checkpoint_with_its_averaged_weights(tmp_path):
    finder = finder_that_speaks()
    model = finder.model
    model.detector.requires_grad_(False)
    boxes = [np.array([[2.0, 3, 14, 15]])] * 2
    trainer = training.Trainer(
        model,
        lambda x: (model(x, boxes) ** 2).sum(),
        [(to_float(PICTURES[:2]),)] * 4,
        optim.AdamW(model.parameters(), lr=0.1),
        ema=optim.EMA(model, decay=0.5),
    )
    for _ in training.train(trainer, 4, tmp_path, settings=SETTINGS):
        pass
    loaded, x = MaskFinder.load(tmp_path / "checkpoint.npz").model, asarray(to_float(PICTURES[:2]))
    last = model(x, boxes).numpy()
    with trainer.ema.swapped():
        np.testing.assert_allclose(loaded(x, boxes).numpy(), model(x, boxes).numpy(), rtol=1e-5)
    assert np.abs(loaded(x, boxes).numpy() - last).max() > 1e-3
    np.testing.assert_array_equal(loaded.detector(x).numpy(), model.detector(x).numpy())


def test_what_is_no_detector_with_masks(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist: train with"):
        MaskFinder.load(tmp_path / "none.npz")
    settings = {name: value for name, value in SETTINGS.items() if name != "mask_head"}
    td.save(tmp_path / "other.npz", {"settings": settings, "model": {}, "ema": None})
    with pytest.raises(
        training.CheckpointError, match=r"not a mask detector's, .*they lack mask_head"
    ):
        MaskFinder.load(tmp_path / "other.npz")


def test_refusals():
    with pytest.raises(ValueError, match="they lack anchors, detector"):
        MaskFinder({"classes": ["a"], "mask_head": {}})
    with pytest.raises(ValueError, match="what is in 2 images, got 1"):
        finder_that_speaks().masks(PICTURES[:2], [vision.Objects(np.zeros((0, 4)), [])])
    with pytest.raises(ValueError, match="multiples of 4"):
        finder_that_speaks()(PICTURES[:, :15])


def test_learns_the_masks_of_eight_scenes():
    scenes = data.shapes("train", 8, side=64, objects=(1, 3))
    truths = vision.objects_of(scenes.labels, scenes.boxes, scenes.instances)
    td.seed(0)
    finder = MaskFinder({**SETTINGS, "mask_head": {"width": 16, "blocks": 1}})
    model = finder.model
    model.detector.requires_grad_(False)

    def overlap():
        masked = finder.masks(scenes.images, truths)
        pairs = zip(masked, truths, strict=True)
        return np.concatenate([np.diag(vision.mask_iou(a.masks, b.masks)) for a, b in pairs]).mean()

    def loss(model, x, boxes, targets):
        return vision.mask_loss(model(x, boxes), targets)

    trainer = training.Trainer(
        model,
        partial(loss, model),
        vision.MaskBatches(data.Batches(scenes, 4), 28, jitter=0.05),
        optim.AdamW(model.parameters(), lr=1e-2),
    )
    before = overlap()
    for _ in trainer.run(60):
        pass
    assert overlap() > max(0.8, before + 0.1)


def test_the_surest_hundred_get_masks():
    finder = finder_that_speaks()
    finder.model.detector.head.weight.data[...] *= 3
    (found,) = finder(np.tile(PICTURES[:1], (1, 6, 4, 1)))
    (boxes,) = finder.finder(np.tile(PICTURES[:1], (1, 6, 4, 1)))
    assert len(boxes.at_least(0.02)) > 100 == len(found)
    np.testing.assert_array_equal(found.boxes, boxes.boxes[:100])
