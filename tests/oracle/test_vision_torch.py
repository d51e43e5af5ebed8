"""Losses of boxes and of YOLO against PyTorch: its own where it has them, else the formulas."""

import numpy as np
import pytest
from vision.random_boxes import boxes_anywhere

from tinydiff import Tensor
from tinydiff.backend import to_numpy
from tinydiff.vision import (
    Objects,
    YoloGrid,
    assign,
    giou_box_loss,
    l2_box_loss,
    smooth_l1_box_loss,
    yolo_loss,
)

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
F = torch.nn.functional
pytestmark = pytest.mark.oracle


def overlaps(a, b):
    """IoU and GIoU, pair by pair"""
    size = lambda low, high: torch.prod(torch.clamp(high - low, min=0), dim=-1)
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = size(low, high)
    either = size(a[..., :2], a[..., 2:]) + size(b[..., :2], b[..., 2:]) - both
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    hull = size(low, high)
    return both / either, both / either - (hull - either) / hull


BOX_LOSSES = {
    "l2": (l2_box_loss, lambda a, b: ((a - b) ** 2).sum(-1).mean()),
    "smooth l1": (
        lambda a, b: smooth_l1_box_loss(a, b, beta=0.7),
        lambda a, b: F.smooth_l1_loss(a, b, beta=0.7, reduction="none").sum(-1).mean(),
    ),
    "giou": (giou_box_loss, lambda a, b: (1 - overlaps(a, b)[1]).mean()),
}


@pytest.mark.parametrize("ours, theirs", BOX_LOSSES.values(), ids=BOX_LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_box_losses(ours, theirs, dtype, rng):
    arrays = [boxes_anywhere(rng, 50, size=8).astype(dtype) for _ in range(2)]
    mine = [Tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    a, b = ours(*mine), theirs(*other)
    a.backward()
    b.backward()
    tolerance = {np.float32: 1e-5, np.float64: 1e-12}[dtype]
    assert a.dtype == dtype
    assert a.item() == pytest.approx(b.item(), rel=tolerance)
    for m, o in zip(mine, other, strict=True):
        np.testing.assert_allclose(to_numpy(m.grad), o.grad.numpy(), atol=tolerance)


def yolo_in_torch(output, truths, grid):
    """The loss, with prior, of darknet's region layer: whole grids of targets and weights."""
    (height, width), (rows, columns) = grid.picture, grid.cells
    n, anchors = len(truths), torch.tensor(grid.anchors)
    t = output.reshape(n, rows, columns, len(anchors), 5 + grid.classes)
    xy, wh, confidence = torch.sigmoid(t[..., :2]), t[..., 2:4], torch.sigmoid(t[..., 4])
    j, i = torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy")
    with torch.no_grad():
        cells = torch.tensor([columns, rows])
        centre = (torch.stack([j, i], -1)[:, :, None] + xy) / cells
        size = anchors * torch.exp(wh) / cells
        boxes = torch.cat([centre - size / 2, centre + size / 2], -1)
        # the prior everywhere, to begin with; and no object where nothing is near
        target = torch.cat([torch.full_like(xy, 0.5), torch.zeros_like(wh)], -1)
        weight = torch.full_like(confidence, 0.01)
        said, trust = torch.zeros_like(confidence), torch.ones_like(confidence)
        for k, picture in enumerate(truths):
            for box in torch.tensor(picture.boxes / [width, height, width, height]):
                trust[k][overlaps(boxes[k], box)[0] > 0.6] = 0
        classes = []
        for k, picture in enumerate(truths):
            relative = torch.tensor(picture.boxes / [width, height, width, height])
            for box, label in zip(relative, picture.labels, strict=True):
                middle, shape = (box[:2] + box[2:]) / 2 * cells, (box[2:] - box[:2]) * cells
                column, row = middle.long().tolist()
                both = torch.prod(torch.minimum(shape, anchors), -1)
                like = both / (shape.prod() + anchors.prod(-1) - both)
                a = int(like.argmax())
                place = k, row, column, a
                target[place] = torch.cat(
                    [middle - torch.tensor([column, row]), torch.log(shape / anchors[a])]
                )
                weight[place] = 2 - (shape / cells).prod()
                said[place], trust[place] = overlaps(boxes[place], box)[0], 5
                classes.append((place, int(label)))
    loss = 0.5 * (weight[..., None] * (torch.cat([xy, wh], -1) - target) ** 2).sum()
    loss = loss + 0.5 * (trust * (confidence - said) ** 2).sum()
    for place, label in classes:
        loss = loss + F.cross_entropy(t[place][5:][None], torch.tensor([label]), reduction="sum")
    return loss / n


@pytest.mark.parametrize("counts", [[3, 0, 4], [0], [1, 1]])
def test_yolo_loss(counts, rng):
    grid = YoloGrid((52, 78), (13, 13), [[1.0, 1.5], [3, 4], [5, 2], [9, 5], [11, 10]], 4)
    truths = []
    for count in counts:
        while True:  # one object a cell: the region layer lets the later one have an anchor
            boxes = boxes_anywhere(rng, count, size=52, least=2)
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2 // [6, 4]
            if len(np.unique(centres, axis=0)) == count:
                break
        truths.append(Objects(boxes, rng.integers(0, 4, count)))
    output = rng.standard_normal((len(counts), 13, 13, grid.channels))
    mine, other = Tensor(output, requires_grad=True), torch.tensor(output, requires_grad=True)
    ours = yolo_loss(mine, assign(truths, grid), grid, prior=True).total
    theirs = yolo_in_torch(other, truths, grid)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    ours.backward()
    theirs.backward()
    np.testing.assert_allclose(to_numpy(mine.grad), other.grad.numpy(), rtol=1e-9, atol=1e-12)
