"""A detector in one piece: its settings, its checkpoint, and pictures of any size."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import optim, training, vision
from tinydiff.backend import asarray
from tinydiff.images import to_float
from tinydiff.vision import Finder

SETTINGS = {
    "classes": ["circle", "star"],
    "anchors": [[1.0, 1.0], [2.0, 3.0]],
    "detector": {"widths": [8, 16], "blocks": [0, 1], "patch": 2},
}
PICTURES = np.random.default_rng(0).integers(0, 256, (19, 16, 24, 3), np.uint8)


def finder_that_speaks():
    """Untrained, but of the opinion that there is something here and there."""
    td.seed(0)
    finder = Finder(SETTINGS)
    weight = finder.model.head.weight
    weight.data[...] = asarray(np.random.default_rng(1).standard_normal(weight.shape))
    return finder


def same(a, b):
    return all(
        np.allclose(x.boxes, y.boxes, atol=1e-3) and x.labels.tolist() == y.labels.tolist()
        for x, y in zip(a, b, strict=True)
    )


def test_finds_what_its_parts_find():
    finder = finder_that_speaks()
    finder.model.train()
    found = finder(PICTURES)  # in two batches
    grid = vision.YoloGrid((16, 24), (4, 6), SETTINGS["anchors"], 2)
    expected = vision.detect(finder.model(asarray(to_float(PICTURES))), grid)
    assert len(found) == 19 and same(found, expected)
    assert not finder.model.training
    assert finder.classes == ("circle", "star")


def test_pictures_of_any_size():
    finder = finder_that_speaks()
    (large,) = finder(np.tile(PICTURES[:1], (1, 3, 2, 1)))
    assert large.boxes.max() > 24
    assert finder(PICTURES[:0]) == []


@pytest.mark.parametrize("brightness", [0, 127, 255])
def test_pictures_with_nothing_to_see(brightness):
    """Norms divide by a deviation that is zero here."""
    empty = np.full((2, 16, 24, 3), brightness, np.uint8)
    for objects in finder_that_speaks()(empty):
        assert np.isfinite(objects.scores).all() and np.isfinite(objects.boxes).all()


def test_comes_back_from_a_checkpoint_with_its_averaged_weights(tmp_path):
    finder = finder_that_speaks()
    model = finder.model
    trainer = training.Trainer(
        model,
        lambda x: (model(x) ** 2).sum(),
        [(to_float(PICTURES[:2]),)] * 4,
        optim.AdamW(model.parameters(), lr=0.1),
        ema=optim.EMA(model, decay=0.5),
    )
    for _ in training.train(trainer, 4, tmp_path, settings=SETTINGS):
        pass
    loaded = Finder.load(tmp_path / "checkpoint.npz")
    last = finder(PICTURES)
    with trainer.ema.swapped():
        assert same(loaded(PICTURES), finder(PICTURES))
    assert not same(loaded(PICTURES), last)


def test_what_is_no_detector(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist: train with"):
        Finder.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(training.CheckpointError, match="not a tinydiff checkpoint"):
        Finder.load(tmp_path / "text.npz")
    td.save(tmp_path / "other.npz", {"settings": {"unet": {}}, "model": {}, "ema": None})
    with pytest.raises(training.CheckpointError, match=r"not a detector's, .*lack classes"):
        Finder.load(tmp_path / "other.npz")
    td.save(tmp_path / "empty.npz", {"settings": SETTINGS, "model": {}, "ema": None})
    with pytest.raises(training.CheckpointError, match="not a detector's"):
        Finder.load(tmp_path / "empty.npz")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": []}, "classes: expected at least 1"),
        ({"anchors": [[1.0, 0.0]]}, "anchors: expected widths and heights > 0"),
        ({"anchors": []}, "channels|anchors"),
        ({"detector": {"widths": [12], "blocks": [1]}}, "norm_groups"),
    ],
)
def test_refused_settings(changed, message):
    with pytest.raises(ValueError, match=message):
        Finder({**SETTINGS, **changed})
    with pytest.raises(ValueError, match="they lack anchors, detector"):
        Finder({"classes": ["a"]})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (PICTURES[:, :15], "15 × 24 pixels: expected multiples of 4"),
        (PICTURES[..., :1], r"\(N, H, W, 3\), got \(19, 16, 24, 1\)"),
        (PICTURES[:, :0], r"picture: expected two numbers ≥ 1, got \(0, 24\)"),
        (PICTURES[0], r"got \(16, 24, 3\)"),
        ([1], "got list"),
    ],
)
def test_refused_pictures(images, message):
    with pytest.raises(ValueError, match=message):
        finder_that_speaks()(images)
    with pytest.raises(TypeError, match="uint8"):
        finder_that_speaks()(PICTURES / 255)
