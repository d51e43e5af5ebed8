"""Average precision against the definition in exact fractions, and cases whose answer is known.

COCO's is held to pycocotools in tests/oracle/test_coco.py.
"""

from fractions import Fraction

import numpy as np
import pytest
from vision.random_boxes import boxes_on_grid

from tinydiff.vision import Objects, average_precision, coco_average_precision, iou

NOTHING = Objects(np.zeros((0, 4)), [], [])


def scene(rng, pictures, classes):
    """Truths and detections that hit some of them, with ties of scores and of overlaps."""
    detections, truths = [], []
    for _ in range(pictures):
        g = int(rng.integers(0, 5))
        true = Objects(boxes_on_grid(rng, g, size=6), rng.integers(0, classes, g))
        d = int(rng.integers(0, 8))
        near = np.concatenate([true.boxes, boxes_on_grid(rng, d, size=6)])
        labels = np.concatenate([true.labels, rng.integers(0, classes, d)])
        pick = rng.permutation(len(near))[:d]
        scores = rng.integers(0, 6, len(pick)) / 5
        detections.append(Objects(near[pick], labels[pick], scores))
        truths.append(true)
    return detections, truths


def voc_by_definition(detections, truths, label, least, rule):
    """One detection after the other, over all pictures; then p(r) from its definition."""
    count = sum(int((true.labels == label).sum()) for true in truths)
    if count == 0:
        return None
    candidates = [
        (-score, n, k)
        for n, found in enumerate(detections)
        for k, score in enumerate(found.scores)
        if found.labels[k] == label
    ]
    right, taken, curve = 0, set(), []
    for believed, (_, n, k) in enumerate(sorted(candidates), 1):
        true = truths[n][truths[n].labels == label]
        overlaps = iou(detections[n].boxes[k : k + 1], true.boxes)[0].tolist()
        best = max(range(len(overlaps)), key=lambda g: overlaps[g], default=None)
        if best is not None and overlaps[best] >= least and (n, best) not in taken:
            taken.add((n, best))
            right += 1
        curve.append((Fraction(right, count), Fraction(right, believed)))
    p = lambda r: max((precision for recall, precision in curve if recall >= r), default=0)
    if rule == "11-point":
        return sum(p(Fraction(k, 10)) for k in range(11)) / 11
    return sum(p(Fraction(k, count)) for k in range(1, count + 1)) / count


@pytest.mark.parametrize("rule", ["11-point", "all-point"])
def test_voc_is_its_definition(rule, rng):
    seen = []
    for _ in range(80):
        detections, truths = scene(rng, int(rng.integers(1, 8)), 3)
        least = float(rng.choice([0.25, 0.5, 0.7]))
        found = average_precision(detections, truths, classes=4, iou=least, rule=rule)
        for label in range(4):
            expected = voc_by_definition(detections, truths, label, least, rule)
            if expected is None:
                assert np.isnan(found[label])
            else:
                assert found[label] == pytest.approx(float(expected), abs=1e-12)
                seen.append(found[label])
    assert 0.2 < np.mean(seen) < 0.8


A, B, C = [0, 0, 4, 4], [10, 10, 14, 14], [20, 20, 22, 22]


def one(boxes, scores=None):
    return [Objects(boxes, [0] * len(boxes), scores)]


def test_a_curve_by_hand():
    """Right, wrong, right; one object is never found: p = 1, 2/3 at recalls 1/3, 2/3."""
    truths = one([A, B, C])
    found = one([A, [30, 30, 34, 34], B], [0.9, 0.8, 0.7])
    eleven = average_precision(found, truths, classes=1, rule="11-point")
    area = average_precision(found, truths, classes=1, rule="all-point")
    np.testing.assert_allclose(eleven, (4 * 1 + 3 * 2 / 3) / 11)  # 0 … 0.3, then 0.4, 0.5, 0.6
    np.testing.assert_allclose(area, (1 + 2 / 3) / 3)
    coco = coco_average_precision(found, truths, classes=1)
    np.testing.assert_allclose(coco[:3], (34 * 1 + 33 * 2 / 3) / 101)  # 0 … 0.33, then to 0.66


def test_recall_of_three_in_ten_reaches_three_tenths():
    """In floating point 3/10 is less than the 0.3 of np.linspace: the count must be exact."""
    boxes = [[10 * k, 0, 10 * k + 5, 5] for k in range(10)]
    found = average_precision(one(boxes[:3], [0.5] * 3), one(boxes), classes=1, rule="11-point")
    assert found[0] == pytest.approx(4 / 11)


def test_twice_the_same_is_wrong_once():
    truths = one([A, B])
    for found in ([A, A, B], [A, B, A]):
        result = average_precision(one(found, [0.9, 0.8, 0.7]), truths, classes=1)[0]
        assert result == pytest.approx({A[0]: 1.0, B[0]: (1 + 2 / 3) / 2}[found[2][0]])


def test_the_two_rules_differ_where_the_best_is_taken():
    """The second detection overlaps A most, which is found; COCO gives it B, VOC nothing."""
    truths = one([[0, 0, 4, 4], [1, 0, 5, 4]])
    found = one([[0, 0, 4, 4], [0.4, 0, 4.4, 4]], [0.9, 0.8])
    assert average_precision(found, truths, classes=1, iou=0.5)[0] == pytest.approx(0.5)
    assert coco_average_precision(found, truths, classes=1).ap50 == pytest.approx(1)


def test_of_equal_overlaps_coco_takes_the_last():
    """So the second detection still finds the first object, which it fits."""
    truths = one([[0, 0, 4, 4], [2, 0, 6, 4]])
    found = one([[1, 0, 5, 4], [0, 0, 4, 4]], [0.9, 0.8])
    assert coco_average_precision(found, truths, classes=1).ap50 == 1
    assert average_precision(found, truths, classes=1)[0] == pytest.approx(0.5)


def test_perfect_wrong_and_nothing():
    truths = [Objects([A, B], [0, 1]), Objects([C], [0]), Objects(np.zeros((0, 4)), [])]
    right = [Objects(t.boxes, t.labels, np.ones(len(t))) for t in truths]
    other = [Objects(t.boxes, 1 - t.labels, np.ones(len(t))) for t in truths]
    for detections, expected in ((right, 1), (other, 0), ([NOTHING] * 3, 0)):
        for rule in ("11-point", "all-point"):
            found = average_precision(detections, truths, classes=3, rule=rule)
            np.testing.assert_array_equal(found, [expected, expected, np.nan])
        coco = coco_average_precision(detections, truths, classes=3)
        assert coco[:3] == (expected, expected, expected)
        assert coco.small == expected and np.isnan(coco.medium) and np.isnan(coco.large)
    nothing = coco_average_precision([NOTHING], [NOTHING], classes=2)
    assert np.isnan(nothing).all()
    assert np.isnan(average_precision([], [], classes=2)).all()


def test_what_is_found_where_nothing_is_counts_against():
    truths = [*one([A]), Objects(np.zeros((0, 4)), [])]
    found = [*one([A], [0.5]), *one([B], [0.9])]
    assert average_precision(found, truths, classes=1)[0] == pytest.approx(0.5)
    assert coco_average_precision(found, truths, classes=1).ap == pytest.approx(0.5)


def test_masks_count_pixels_and_not_boxes():
    """Two triangles of one square: their boxes are equal, their pixels are not."""
    lower = np.tri(8, dtype=bool)[None]
    box = [[0, 0, 8, 8]]
    truths = [Objects(box, [0], None, lower)]
    found = [Objects(box, [0], [0.9], lower[:, ::-1])]
    assert average_precision(found, truths, classes=1)[0] == 1
    assert average_precision(found, truths, classes=1, by="masks")[0] == 0
    assert coco_average_precision(truths_as(truths), truths, classes=1, by="masks").ap == 1
    assert coco_average_precision(found, truths, classes=1, by="masks").ap == 0


def truths_as(truths):
    return [Objects(t.boxes, t.labels, np.ones(len(t)), t.masks) for t in truths]


def test_refusals():
    found, true = one([A], [0.5]), one([A])
    for error, message, call in (
        (ValueError, "detections: of 2 pictures, truths of 1", {"detections": found * 2}),
        (ValueError, r"truths\[0\]: expected labels 0 … 0", {"truths": [Objects([A], [1])]}),
        (ValueError, r"detections\[0\]: has no scores", {"detections": true}),
        (ValueError, r"detections\[0\]: has no masks", {"by": "masks"}),
        (ValueError, "by: expected 'boxes' or 'masks', got 'dots'", {"by": "dots"}),
        (ValueError, "classes: expected at least 1, got 0", {"classes": 0}),
        (TypeError, r"truths\[0\]: expected Objects, got list", {"truths": [[A]]}),
    ):
        given = {"detections": found, "truths": true, "classes": 1} | call
        for function in (average_precision, coco_average_precision):
            with pytest.raises(error, match=message):
                function(
                    given["detections"],
                    given["truths"],
                    **{k: v for k, v in given.items() if k not in ("detections", "truths")},
                )
    with pytest.raises(ValueError, match="rule: expected '11-point' or 'all-point', got 'coco'"):
        average_precision(found, true, classes=1, rule="coco")
    with pytest.raises(ValueError, match="iou: expected 0 < iou ≤ 1, got 0"):
        average_precision(found, true, classes=1, iou=0)
