"""Suppression against the rule in loops, on a thousand random cases full of ties."""

import math

import numpy as np
import pytest
from vision.random_boxes import boxes_anywhere, boxes_on_grid

from tinydiff.vision import iou, nms, soft_nms


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either else 0


def hard(boxes, scores, labels, least):
    """Take the surest, of equals the first; drop what overlaps it; go on."""
    left, kept = set(range(len(boxes))), []
    while left:
        best = min(left, key=lambda i: (-scores[i], i))
        kept.append(best)
        left -= {
            i for i in left if labels[i] == labels[best] and overlap(boxes[i], boxes[best]) > least
        }
        left.discard(best)  # a box without area does not overlap itself
    return kept


def soft(boxes, scores, labels, keeps, least):
    found = []
    for label in set(labels):
        left = {i: scores[i] for i in range(len(boxes)) if labels[i] == label}
        while left:
            best = min(left, key=lambda i: (-left[i], i))
            found.append((-left.pop(best), best))
            left = {i: s * keeps(overlap(boxes[best], boxes[i])) for i, s in left.items()}
    found = sorted((s, i) for s, i in found if -s >= least)
    return [i for _, i in found], [-s for s, _ in found]


def cases(rng, count):
    """Boxes that share corners, scores in steps, few classes: and so many ties."""
    for _ in range(count):
        n = int(rng.integers(0, 14))
        scores = rng.integers(0, 6, n) / 5
        yield boxes_on_grid(rng, n, size=6), scores, rng.integers(0, 3, n)


def test_hard_is_the_rule_in_loops(rng):
    dropped = ties = 0
    for boxes, scores, labels in cases(rng, 1000):
        least = float(rng.choice([0, 0.25, 1 / 3, 0.5, 1]))
        expected = hard(boxes, scores, labels, least)
        kept, left = nms(boxes, scores, labels, iou=least)
        assert kept.tolist() == expected
        assert left.tolist() == scores[expected].tolist()
        alone, _ = nms(boxes, scores, iou=least)
        assert alone.tolist() == hard(boxes, scores, np.zeros(len(boxes)), least)
        dropped += len(boxes) - len(kept)
        ties += len(kept) - len(set(left))
    assert dropped > 300 and ties > 300


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_is_the_rule_in_loops(method, rng):
    moved = 0
    for boxes, scores, labels in cases(rng, 1000):
        least, sigma = float(rng.choice([0.2, 1 / 3, 0.5])), float(rng.choice([0.3, 0.5]))
        keeps = {
            "linear": lambda o, least=least: 1 - o if o > least else 1,
            "gaussian": lambda o, sigma=sigma: math.exp(-o * o / sigma),
        }[method]
        expected, values = soft(boxes, scores, labels.tolist(), keeps, 0.01)
        kept, left = soft_nms(
            boxes, scores, labels, method=method, iou=least, sigma=sigma, least=0.01
        )
        np.testing.assert_allclose(left, values, rtol=1e-12)
        if method == "linear" or len(set(np.round(values, 9))) == len(values):
            assert kept.tolist() == expected
        else:  # two libraries' exponentials need not agree on what is equal
            assert sorted(kept) == sorted(expected)
        moved += kept.tolist() != sorted(kept, key=lambda i: (-scores[i], i))
    assert moved > 30


@pytest.mark.parametrize("n", [31, 32, 33, 64, 65, 200])
def test_sizes_around_a_block(n, rng):
    boxes, scores = boxes_anywhere(rng, n, size=40), rng.permutation(n) / n
    for least in (0.2, 0.45):
        labels = np.zeros(n)
        assert nms(boxes, scores, iou=least)[0].tolist() == hard(boxes, scores, labels, least)
    kept, left = soft_nms(boxes, scores)
    keeps = lambda o: math.exp(-o * o / 0.5)
    expected, values = soft(boxes, scores, [0] * n, keeps, 0.001)
    assert kept.tolist() == expected
    np.testing.assert_allclose(left, values, rtol=1e-10)


def test_a_dropped_box_drops_nobody():
    boxes = [[0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1]]  # each overlaps the next by 3/5
    kept, _ = nms(boxes, [0.9, 0.8, 0.7], iou=0.5)
    assert kept.tolist() == [0, 2]


def test_of_equals_the_first_stays():
    same = [[0, 0, 2, 2]] * 3
    assert nms(same, [0.5, 0.7, 0.7])[0].tolist() == [1]
    assert nms(same, [0.5] * 3, [1, 0, 1])[0].tolist() == [0, 1]
    kept, left = soft_nms(same, [0.5] * 3, method="linear", iou=0.3)
    assert (kept.tolist(), left.tolist()) == ([0], [0.5])
    kept, left = soft_nms(same, [0.5] * 3, method="linear", least=0)
    assert (kept.tolist(), left.tolist()) == ([0, 1, 2], [0.5, 0, 0])


def test_none_and_one():
    for suppress in (nms, soft_nms):
        kept, left = suppress(np.zeros((0, 4)), [])
        assert kept.shape == left.shape == (0,)
        assert kept.dtype.kind == "i"
        assert suppress([[0, 0, 1, 1]], [0.3])[0].tolist() == [0]


def test_what_stays_does_not_overlap(rng):
    boxes, scores = boxes_anywhere(rng, 300), rng.random(300)
    kept, left = nms(boxes, scores, iou=0.4)
    assert 0 < len(kept) < 300
    assert (np.diff(left) <= 0).all()
    overlaps = iou(boxes[kept], boxes[kept])
    assert overlaps[~np.eye(len(kept), dtype=bool)].max() <= 0.4


@pytest.mark.parametrize("suppress", [nms, soft_nms])
def test_refusals(suppress):
    box = [[0, 0, 1, 1]]
    for call, message in (
        (lambda: suppress(box, [0.5, 0.5]), "scores: expected a number for each of 1 boxes"),
        (lambda: suppress(box, [np.nan]), "scores: expected"),
        (lambda: suppress(box, [0.5], [1, 2]), "labels: expected one for each of 1 boxes"),
        (lambda: suppress(box, [0.5], iou=1.5), "iou: expected a threshold 0 … 1, got 1.5"),
        (lambda: suppress([[1, 0, 0, 1]], [0.5]), "boxes: expected finite corners"),
        (lambda: soft_nms(box, [0.5], method="hard"), "method: expected 'linear' or 'gaussian'"),
        (lambda: soft_nms(box, [0.5], sigma=0), "sigma: expected a number > 0"),
        (lambda: soft_nms(box, [-0.5]), "scores: expected none < 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
