"""YOLO against a twin in loops: what boxes mean, who answers for what, the loss, its gradient."""

import numpy as np
import pytest
from vision import yolo_by_loops as loops
from vision.random_boxes import boxes_anywhere

import tinydiff as td
from tinydiff import Tensor, backend
from tinydiff.vision import Objects, YoloGrid, assign, decode, detect, iou, nms, soft_nms, yolo_loss

ANCHORS = [[0.5, 0.5], [1.0, 2.0], [2.0, 1.0]]
GRID = YoloGrid((40, 60), (4, 5), ANCHORS, 3)  # cells of 12 × 10 pixels
NOTHING = Objects(np.zeros((0, 4)), [])


def leave_all(boxes, scores, labels):
    """Instead of nms: objects of one class that overlap stay."""
    return np.arange(len(boxes)), scores


def random_truths(rng, counts):
    return [
        Objects(boxes_anywhere(rng, k, size=40, least=2), rng.integers(0, 3, k)) for k in counts
    ]


def random_output(rng, n, grid=GRID):
    return rng.standard_normal((n, *grid.cells, grid.channels))


# What the numbers mean


def test_decoding_is_the_formula(rng):
    output = random_output(rng, 2)
    boxes, scores = decode(output, GRID)
    assert boxes.shape == (2, 60, 4) and scores.shape == (2, 60, 3)
    for k, (place, t) in enumerate(loops.numbers(output, GRID)):
        n, b = divmod(k, 60)
        np.testing.assert_allclose(boxes[n, b], loops.box_of(place, t, GRID), rtol=1e-12)
        expected = np.array(loops.class_probabilities(t)) * loops.sigmoid(t[4])
        np.testing.assert_allclose(scores[n, b], expected, rtol=1e-12)
    np.testing.assert_allclose(decode(Tensor(output), GRID)[0], boxes)


def all_in(output):
    return detect(output, GRID, score=0.5, suppress=leave_all)


def says(truths, grid, sure=9.0):
    """An output that says what its targets are."""
    targets = assign(truths, grid)
    output = np.zeros((len(truths), *grid.cells, len(grid.anchors), 5 + grid.classes))
    output[..., 4] = -sure
    for place, t, label in zip(targets.place.tolist(), targets.t, targets.labels, strict=True):
        numbers = output[tuple(place)]
        numbers[:2], numbers[2:4] = np.log(t[:2] / (1 - t[:2])), t[2:]
        numbers[4], numbers[5 + label] = sure, sure
    return output.reshape(*output.shape[:3], grid.channels)


def test_targets_decode_to_the_truth(rng):
    truths = random_truths(rng, [3, 0, 1, 6])
    assert len(assign(truths, GRID).place) == 10
    for found, true in zip(all_in(says(truths, GRID)), truths, strict=True):
        order = np.lexsort(found.boxes.T), np.lexsort(true.boxes.T)
        np.testing.assert_allclose(found.boxes[order[0]], true.boxes[order[1]], atol=1e-6)
        assert found.labels[order[0]].tolist() == true.labels[order[1]].tolist()
        assert (found.scores > 0.99).all()


def test_detect_cuts_off_sorts_and_suppresses(rng):
    output = 3 * random_output(rng, 2)
    for suppress in (nms, soft_nms):
        for found in detect(output.astype(np.float32), GRID, score=0.1, suppress=suppress):
            assert 0 < len(found) < 180
            assert (found.boxes >= 0).all() and (found.boxes <= [60, 40, 60, 40]).all()
            assert (np.diff(found.scores) <= 0).all()
    everything = detect(output, GRID, score=0.0, suppress=leave_all)
    assert [len(found) for found in everything] == [180, 180]  # each box, for each class
    assert [len(found) for found in detect(output, GRID, score=1.0)] == [0, 0]


# Who answers for what


def test_assignment_is_the_rule_in_loops(rng):
    for _ in range(100):
        truths = random_truths(rng, rng.integers(0, 9, 3))
        targets, expected = assign(truths, GRID), loops.answering(truths, GRID)
        assert list(map(tuple, targets.place.tolist())) == list(expected)
        for k, (box, label) in enumerate(expected.values()):
            assert targets.boxes[k].tolist() == box
            assert targets.labels[k] == label


def test_the_cell_of_the_centre_and_the_anchor_of_the_shape():
    box = [18, 12, 30, 32]  # centre (24, 22), on the border of cells; 1 × 2 cells
    targets = assign([NOTHING, Objects([box], [2])], GRID)
    assert targets.place.tolist() == [[1, 2, 2, 1]]
    np.testing.assert_allclose(targets.t, [[0, 0.2, 0, 0]], atol=1e-15)
    assert targets.shares.tolist() == [12 * 20 / 2400]
    assert targets.truths.shape == (2, 1, 4)
    assert targets.truths[:, 0].tolist() == [[0, 0, 0, 0], box]


def test_boxes_on_the_border():
    boxes = [[0, 0, 60, 40], [0, 0, 2, 2], [58, 38, 60, 40], [np.nextafter(60, 0), 0, 60, 40]]
    assert sum(boxes[-1][::2]) / 2 == 60  # rounded, the centre of the last one is on the border
    targets = assign([Objects(boxes, [0, 1, 2, 0])], GRID)
    assert targets.place[:, :3].tolist() == [[0, 2, 2], [0, 0, 0], [0, 3, 4], [0, 2, 4]]
    assert ((targets.t[:, :2] >= 0) & (targets.t[:, :2] <= 1)).all()
    assert np.isfinite(targets.t).all()
    for outside in ([-0.1, 0, 5, 5], [55, 0, 60.5, 5], [0, 35, 5, 41]):
        with pytest.raises(ValueError, match=r"truths\[1\]: expected boxes within 60 × 40 pixels"):
            assign([NOTHING, Objects([outside], [0])], GRID)


def test_more_objects_than_anchors_in_a_cell():
    """Each has the best that is left, in the order of the list, and the fourth none."""
    tall = [[24, 10, 36, 30]] * 4  # like anchor 1
    targets = assign([Objects(tall, [0, 1, 2, 0])], GRID)
    assert targets.place[:, 3].tolist() == [1, 2, 0]
    assert targets.labels.tolist() == [0, 1, 2]
    assert len(targets.truths[0]) == 4  # all of them are there


def test_boxes_without_area_are_no_objects():
    thin = Objects([[1, 1, 1, 9], [5, 5, 5, 5], [0, 3, 9, 3]], [0, 1, 2])
    targets, none = assign([thin], GRID), assign([NOTHING], GRID)
    assert targets.place.shape == (0, 4)
    output = random_output(np.random.default_rng(0), 1)
    for a, b in zip(
        yolo_loss(Tensor(output), targets, GRID)[:4],
        yolo_loss(Tensor(output), none, GRID)[:4],
        strict=True,
    ):
        assert a.item() == b.item()


# The loss


def loss_of(output, truths, prior=True, grid=GRID):
    return yolo_loss(output, assign(truths, grid), grid, prior=prior)


@pytest.mark.parametrize("counts", [[3, 0, 5], [1], [0, 0], [9]])
def test_loss_is_the_twin_in_loops(counts, rng):
    truths, output = random_truths(rng, counts), random_output(rng, len(counts))
    found = loss_of(Tensor(output), truths)
    expected = loops.terms(output, truths, GRID)
    np.testing.assert_allclose([term.item() for term in found], expected, rtol=1e-12)
    assert found.total.item() == pytest.approx(expected.sum())
    without = loss_of(Tensor(output), truths, prior=False)
    assert without.prior is None
    assert without.total.item() == pytest.approx(expected[:4].sum())


@pytest.mark.parametrize("larger, asked", [(1.0, False), (1.2, False), (1.4, True), (50, True)])
def test_background_is_not_asked_of_boxes_that_are_near(larger, asked):
    """A second box as sure, of the same centre, has IoU 1/larger² with the object."""
    truths = [Objects([[10, 10, 28, 26]], [1])]
    grid = YoloGrid(GRID.picture, GRID.cells, ANCHORS + ANCHORS, 3)
    place = tuple(assign(truths, grid).place[0])
    output = says(truths, grid).reshape(1, *GRID.cells, 6, 8)
    second = output[place[:3]][place[3] + 3]
    second[:] = output[place]
    second[2:4] += np.log(larger)
    loss = loss_of(Tensor(output.reshape(1, *GRID.cells, 48)), truths, grid=grid)
    assert loss.background.item() == pytest.approx(0.5 if asked else 0, abs=1e-3)


@pytest.mark.parametrize("term", ["boxes", "classes", "background", "prior"])
def test_gradients_of_the_terms(term, rng, seed):
    truths, output = random_truths(rng, [3, 0]), random_output(rng, 2)
    td.gradcheck(lambda t: getattr(loss_of(t, truths), term), output, seed=seed)


def test_gradient_of_the_whole_with_the_overlaps_as_numbers(rng):
    """IoU is a target: differences of the twin, with it held, are what the gradient must say."""
    truths, output = random_truths(rng, [3, 4]), random_output(rng, 2)
    held = loops.overlaps_now(output, truths, GRID)
    tensor = Tensor(output, requires_grad=True)
    loss_of(tensor, truths).total.backward()
    gradient = backend.to_numpy(tensor.grad)
    for _ in range(5):
        direction = rng.standard_normal(output.shape)
        ahead, behind = (
            loops.terms(output + h * direction, truths, GRID, held).sum() for h in (1e-6, -1e-6)
        )
        assert (gradient * direction).sum() == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


def test_what_is_right_costs_nothing(rng):
    truths = random_truths(rng, [3, 0, 2])
    loss = loss_of(Tensor(says(truths, GRID, sure=12.0)), truths, prior=False)
    assert 0 <= loss.total.item() < 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_in_any_picture(dtype, rng):
    output = Tensor(random_output(rng, 2).astype(dtype), requires_grad=True)
    loss = loss_of(output, [NOTHING, NOTHING])
    assert loss.boxes.item() == loss.objects.item() == loss.classes.item() == 0
    assert loss.background.item() > 0 and loss.total.dtype == dtype
    loss.total.backward()
    gradient = backend.to_numpy(output.grad).reshape(2, *GRID.cells, 3, 8)
    assert (gradient[..., 4] > 0).all(), "all confidences should fall"
    assert (gradient[..., 5:] == 0).all()


def test_it_can_be_learned():
    """The output itself as parameters: gradient descent ends with the objects found."""
    truths = [
        Objects([[5, 4, 18, 20], [30, 12, 52, 30]], [0, 2]),
        NOTHING,
        Objects([[2, 22, 10, 37], [15, 3, 33, 14], [40, 20, 58, 39]], [1, 1, 0]),
    ]
    targets = assign(truths, GRID)
    output = Tensor(np.zeros((3, *GRID.cells, GRID.channels)), requires_grad=True)
    for step in range(400):
        yolo_loss(output, targets, GRID, prior=step < 50).total.backward()
        output.data -= 0.5 * output.grad
        output.grad = None
    for found, true in zip(detect(output, GRID, score=0.5), truths, strict=True):
        assert len(found) == len(true)
        for box, label in zip(true.boxes, true.labels, strict=True):
            overlaps = iou([box], found.boxes)[0]
            assert overlaps.max() > 0.85
            assert found.labels[overlaps.argmax()] == label


def test_refusals(rng):
    output = random_output(rng, 1)
    for call, message in (
        (lambda: decode(output[..., 1:], GRID), r"output: expected \(N, \*\(4, 5, 24\)\), got"),
        (lambda: decode(output[0], GRID), "output: expected"),
        (lambda: loss_of(Tensor(output), [NOTHING] * 2), "targets: of 2 pictures, .* output of 1"),
        (
            lambda: assign([Objects([[0, 0, 1, 1]], [3])], GRID),
            r"truths\[0\]: expected labels 0 … 2",
        ),
        (lambda: YoloGrid((0, 8), (4, 4), ANCHORS, 3), "picture: expected two numbers ≥ 1"),
        (lambda: YoloGrid((8, 8), (4,), ANCHORS, 3), "cells: expected two numbers"),
        (lambda: YoloGrid((8, 8), (4, 4), [1.0, 2], 3), "anchors: expected .A, 2."),
        (lambda: YoloGrid((8, 8), (4, 4), [[1.0, 0]], 3), "anchors: expected .* > 0"),
        (lambda: YoloGrid((8, 8), (4, 4), ANCHORS, 0), "classes: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
