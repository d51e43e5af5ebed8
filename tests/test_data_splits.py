"""What classes are learned from and tested on: by name, or a folder, a tenth of it held out."""

import numpy as np
import pytest
from PIL import Image

from tinydiff import data
from tinydiff.data import Dataset, first_of, hold_out, learned_from, short_name, train_and_test


def numbered(counts):
    """So many pictures of each class, one class after another; each says which it is."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Dataset("numbered", images, labels, tuple("abcdefg"[: len(counts)]))


def test_every_tenth_of_each_class_is_held_out():
    train, test = hold_out(numbered([10, 25, 39]))
    assert test.images.ravel().tolist() == [9, 19, 29, 44, 54, 64]
    assert np.bincount(test.labels).tolist() == [1, 2, 3]
    assert sorted([*train.images.ravel(), *test.images.ravel()]) == list(range(74))
    assert np.array_equal(train.labels, numbered([10, 25, 39]).labels[train.images.ravel()])
    assert (train.name, test.name) == ("numbered-train", "numbered-test")
    assert train.classes == test.classes == ("a", "b", "c")


def test_what_cannot_be_cut():
    with pytest.raises(ValueError, match="9 pictures of b, expected 10 or more"):
        hold_out(numbered([20, 9]))
    with pytest.raises(ValueError, match="bare has no classes: expected a folder with one sub-fo"):
        hold_out(Dataset("bare", np.zeros((20, 1, 1, 1), np.uint8)))


def test_a_folder_is_read_at_a_size(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (12, 10), (i, 0, 0)).save(tmp_path / "pets" / name / f"{i}.png")
    folder = str(tmp_path / "pets")
    train, test = train_and_test(folder, data.LABELLED, 6)
    assert train.images.shape == (18, 6, 6, 3) and test.images.shape == (2, 6, 6, 3)
    assert test.images[:, 0, 0, 0].tolist() == [9, 9]
    assert train.classes == ("cats", "dogs")
    assert short_name(folder, data.LABELLED) == "pets"


def test_data_sets_by_name():
    known = {"digits": lambda split: data.digits(split, count=20)}
    train, test = train_and_test("digits", known)
    assert (train.name, test.name) == ("digits-train", "digits-test")
    assert short_name("digits", known) == "digits"
    assert learned_from({"data": train.name}, known) == "digits"
    with pytest.raises(ValueError, match="--data is 'cats', expected digits, or a folder"):
        train_and_test("cats", known)
    with pytest.raises(ValueError, match="learned from 'cats', expected digits"):
        learned_from({"data": "cats-train"}, known)


def test_the_first_are_of_all_classes():
    """A folder comes class by class; data sets in files are mixed, and their first are taken."""
    ordered = numbered([10] * 6)
    some = first_of(ordered, 20)
    assert len(set(some.labels)) > 4 and len(set(some.images.ravel())) == 20
    assert np.array_equal(some.labels, ordered.labels[some.images.ravel()])
    assert np.array_equal(first_of(ordered, 20).images, some.images)
    mixed = Dataset("mixed", ordered.images, np.tile(np.arange(6), 10), ordered.classes)
    assert first_of(mixed, 20).images.ravel().tolist() == list(range(20))
    assert first_of(mixed, 20).labels.tolist() == mixed.labels[:20].tolist()
    assert len(first_of(mixed, 100)) == 60
    assert len(first_of(Dataset("bare", ordered.images), 7)) == 7
