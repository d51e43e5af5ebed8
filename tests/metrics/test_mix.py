"""The same mix of classes: what is taken, and how much of it."""

import numpy as np
import pytest

from tinydiff.data import Dataset
from tinydiff.metrics import evenly, same_mix


def dataset(*counts):
    """So many pictures of each class, unsorted."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    images = np.zeros((len(labels), 1, 1, 1), np.uint8)
    return Dataset("some", images, labels, tuple("abcdefgh"[: len(counts)]))


@pytest.mark.parametrize(
    ("there", "asked", "most", "taken"),
    [
        ((30, 50, 40), (10, 10, 10), np.inf, (30, 30, 30)),
        ((30, 50, 40), (10, 10, 10), 1, (10, 10, 10)),
        ((30, 50, 40), (10, 20, 0), np.inf, (25, 50, 0)),
        ((30, 50, 40), (0, 0, 7), np.inf, (0, 0, 40)),
        ((30, 50, 40), (60, 60, 60), 1, (30, 30, 30)),
    ],
)
def test_as_many_as_there_are(there, asked, most, taken, rng):
    source = dataset(*there)
    labels = rng.permutation(np.repeat([0, 1, 2], asked))
    chosen = same_mix(source, labels, rng, most=most)
    assert len(set(chosen)) == len(chosen), "a picture twice"
    found = source.labels[chosen]
    assert np.array_equal(found, np.sort(found))
    assert tuple(np.bincount(found, minlength=3)) == taken
    again = same_mix(source, labels, rng, most=most)
    assert sum(taken) == 40 or not np.array_equal(chosen, again), "not drawn at random"


def test_refuses_classes_that_are_not_there(rng):
    with pytest.raises(ValueError, match="some has no pictures of class 1, 9"):
        same_mix(dataset(3, 0, 2), np.array([0, 1, 9]), rng)


def test_evenly_takes_the_same_share_everywhere():
    labels = np.repeat([0, 1, 2, 3], 25)
    assert evenly(labels, 8).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert np.array_equal(evenly(labels, 100), labels)
