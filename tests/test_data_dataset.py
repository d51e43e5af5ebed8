"""A data set refuses what is not one, and names the field."""

import numpy as np
import pytest

from tinydiff.data import Dataset

IMAGES = np.zeros((4, 5, 6, 1), np.uint8)
LABELS = np.array([0, 1, 1, 0])
CLASSES = ("cat", "dog")


def test_keeps_what_it_is_given():
    dataset = Dataset("pets", IMAGES, LABELS, CLASSES)
    assert len(dataset) == 4
    assert dataset.images is IMAGES
    assert dataset.labels is LABELS
    assert repr(dataset) == "Dataset('pets': 4 images 5x6x1, 2 classes)"


def test_labels_are_optional():
    dataset = Dataset("pets", IMAGES)
    assert dataset.labels is None
    assert dataset.classes == ()
    assert "no labels" in repr(dataset)


def test_is_frozen():
    with pytest.raises(AttributeError):
        Dataset("pets", IMAGES).name = "dogs"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("", IMAGES), TypeError, "name"),
        ((None, IMAGES), TypeError, "name"),
        (("pets", IMAGES.tolist()), TypeError, "images must be a NumPy array"),
        (("pets", IMAGES.astype(np.float32)), TypeError, "images must be uint8, got float32"),
        (("pets", IMAGES[..., 0]), ValueError, "images must be"),
        (("pets", IMAGES[:0]), ValueError, "at least one image"),
        (("pets", np.zeros((4, 5, 6, 2), np.uint8)), ValueError, "C = 1 or 3"),
        (("pets", IMAGES, LABELS.astype(np.int32), CLASSES), TypeError, "labels must be int64"),
        (("pets", IMAGES, LABELS[:3], CLASSES), ValueError, r"labels must have shape \(4,\)"),
        (("pets", IMAGES, LABELS[:, None], CLASSES), ValueError, "labels must have shape"),
        (("pets", IMAGES, LABELS + 1, CLASSES), ValueError, "range from 1 to 2"),
        (("pets", IMAGES, LABELS - 1, CLASSES), ValueError, "range from -1 to 0"),
        (("pets", IMAGES, LABELS), ValueError, "labels must lie"),
        (("pets", IMAGES, LABELS, ["cat", "dog"]), TypeError, "classes must be a tuple"),
        (("pets", IMAGES, LABELS, (0, 1)), TypeError, "classes must be a tuple"),
        (("pets", IMAGES, None, CLASSES), ValueError, "labels is None"),
    ],
)
def test_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        Dataset(*arguments)
