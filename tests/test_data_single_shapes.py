"""Single shapes: the same everywhere, of the class they say, bright, upright and whole."""

import hashlib

import numpy as np
import pytest

from tinydiff import data
from tinydiff.data import single_shapes
from tinydiff.data.outlines import OUTLINES


def test_is_what_it_says():
    some = single_shapes(count=300)
    assert some.name == "shapes-train" and some.classes == tuple(OUTLINES)
    assert some.images.shape == (300, 32, 32, 3)
    assert set(some.labels) == set(range(10))
    assert data.LABELLED["shapes"]("test", 3).name == "shapes-test"


def test_picture_i_does_not_depend_on_count_and_splits_and_seeds_differ():
    many, few = single_shapes(count=9), single_shapes(count=4)
    assert np.array_equal(many.images[:4], few.images)
    assert np.array_equal(many.labels[:4], few.labels)
    sets = [single_shapes("train", 30), single_shapes("test", 30), single_shapes(count=30, seed=1)]
    images = np.concatenate([some.images for some in sets]).reshape(90, -1)
    assert len(np.unique(images, axis=0)) == 90


def test_the_same_bytes_on_every_machine():
    some = single_shapes("test", 60, seed=1)
    digest = hashlib.sha256(some.images.tobytes() + some.labels.tobytes()).hexdigest()
    assert digest == "60682de5e24b2fe39e6301aeb68952affc863d80e80e2ed9d0453d3db581ef75"


def test_the_label_is_that_of_the_outline_that_fits():
    """Of all shapes, tried at all places and sizes and upright, the one that covers what is bright
    and nothing else."""
    some = single_shapes(count=30)
    y, x = np.mgrid[:32, :32] + 0.5
    templates, labels = [], []
    for label, outline in enumerate(OUTLINES.values()):
        for radius in np.linspace(9, 12, 4):
            for turn in np.deg2rad([-10, 0, 10]):
                for cx, cy in np.ndindex(7, 7):
                    dx, dy = x - 13 - cx, y - 13 - cy
                    u, v = (
                        dx * np.cos(turn) + dy * np.sin(turn),
                        dy * np.cos(turn) - dx * np.sin(turn),
                    )
                    templates.append((outline(u / radius, v / radius) < 0).ravel())
                    labels.append(label)
    templates = np.float32(templates)
    right = 0
    for image, label in zip(some.images, some.labels, strict=True):
        ground = np.median(image[[0, -1]].reshape(-1, 3), axis=0)
        bright = (np.linalg.norm(image - ground, axis=2) > 70).ravel()
        both = templates @ bright
        overlap = both / (templates.sum(axis=1) + bright.sum() - both)
        right += labels[int(overlap.argmax())] == label and overlap.max() > 0.8
    assert right == 30


def test_refusals():
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        single_shapes("val")
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        single_shapes(count=0)
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        single_shapes(seed=-1)
