"""Losses of boxes: values by hand, gradients, and what a step along them does."""

import numpy as np
import pytest
from vision.random_boxes import boxes_anywhere

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import to_numpy
from tinydiff.vision import giou, giou_box_loss, l2_box_loss, smooth_l1_box_loss

LOSSES = {
    "l2": l2_box_loss,
    "smooth L1": smooth_l1_box_loss,
    "smooth L1, narrow": lambda a, b, **s: smooth_l1_box_loss(a, b, beta=0.2, **s),
    "GIoU": giou_box_loss,
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)

A, B = np.array([[0.0, 0, 2, 2], [0, 0, 2, 2]]), np.array([[0.5, 0, 2, 5], [3.0, 0, 4, 1]])


@pytest.mark.parametrize(
    "name, expected",
    [
        ("l2", [0.25 + 9, 9 + 4 + 1]),
        ("smooth L1", [0.125 + 2.5, 2.5 + 1.5 + 0.5]),
        ("smooth L1, narrow", [0.4 + 2.9, 2.9 + 1.9 + 0.9]),
        ("GIoU", [1 - (3 / 8.5 - 1.5 / 10), 1 + 3 / 8]),
    ],
)
def test_values_by_hand(name, expected):
    loss = LOSSES[name]
    np.testing.assert_allclose(loss(Tensor(A), B, reduction="none").numpy(), expected)
    assert loss(Tensor(A), Tensor(B)).item() == pytest.approx(np.mean(expected))
    assert loss(Tensor(A), B, reduction="sum").item() == pytest.approx(np.sum(expected))
    assert loss(Tensor(B), B).item() == 0


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradients(loss, reduction, rng, seed):
    """Of boxes that meet, that do not, and one within the other; along both arguments."""
    a, b = boxes_anywhere(rng, 12, size=6), boxes_anywhere(rng, 12, size=6)
    a[0], b[0] = [1, 1, 2, 2], [3, 4, 5, 6]
    a[1], b[1] = [0, 0, 6, 6], [1.5, 2, 3, 4]
    td.gradcheck(lambda p, q: loss(p, q, reduction=reduction), a, b, seed=seed)
    td.gradcheck(
        lambda p, q: loss(p, q, reduction=reduction), a.reshape(3, 4, 4), b.reshape(3, 4, 4)
    )


def test_giou_loss_is_the_metric(rng):
    a, b = boxes_anywhere(rng, 20), boxes_anywhere(rng, 20)
    loss = giou_box_loss(Tensor(a), b, reduction="none").numpy()
    np.testing.assert_allclose(loss, 1 - np.diagonal(giou(a, b)), atol=1e-14)


def test_giou_pulls_boxes_together_that_do_not_meet():
    box, target = Tensor([[0.0, 0, 10, 10]], requires_grad=True), [[30.0, 20, 45, 40]]
    first = giou_box_loss(box, target).item()
    for _ in range(300):
        giou_box_loss(box, target).backward()
        box.data -= 30 * box.grad
        box.grad = None
    assert first > 1.5
    assert giou_box_loss(box, target).item() < 0.2  # at this rate it jumps to and fro


@each_loss
@pytest.mark.parametrize("thin", [[1, 1, 1, 1], [0, 1, 2, 1]])
def test_boxes_without_area_have_finite_gradients(loss, thin):
    for target in (thin, [0, 0, 2, 2], [5, 5, 6, 7]):
        box = Tensor(np.array([thin], float), requires_grad=True)
        value = loss(box, np.array([target], float))
        value.backward()
        assert np.isfinite(value.item())
        assert np.isfinite(to_numpy(box.grad)).all()
    assert giou_box_loss(box, to_numpy(box.data)).item() == 1


@each_loss
def test_no_boxes(loss):
    none = Tensor(np.zeros((0, 4)), requires_grad=True)
    assert loss(none, np.zeros((0, 4)), reduction="sum").item() == 0
    with pytest.raises(ValueError, match="no values"):
        loss(none, np.zeros((0, 4)))


@each_loss
def test_refusals(loss):
    with pytest.raises(ValueError, match=r"box_loss: prediction .* target .* differ"):
        loss(Tensor(A), B[:1])
    with pytest.raises(ValueError, match=r"box_loss: expected boxes \(…, 4\), got shape \(2, 3\)"):
        loss(Tensor(A[:, :3]), B[:, :3])
    with pytest.raises(ValueError, match="reduction is 'max'"):
        loss(Tensor(A), B, reduction="max")
