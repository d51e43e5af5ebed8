"""COCO's average precision against its own program, pycocotools, on the same detections."""

import contextlib
import io

import numpy as np
import pytest
from vision.random_boxes import boxes_on_grid

from tinydiff.vision import Objects, coco_average_precision

coco = pytest.importorskip("pycocotools.coco")
cocoeval = pytest.importorskip("pycocotools.cocoeval")
mask_tools = pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.oracle
SIDE = 128


def theirs(detections, truths, classes, by):
    """The first six numbers of COCOeval's summary; NaN for its −1."""
    annotations, results = [], []
    for name, pictures, entries in (("t", truths, annotations), ("d", detections, results)):
        for n, objects in enumerate(pictures):
            for k in range(len(objects)):
                x0, y0, x1, y1 = objects.boxes[k].tolist()
                entry = {"image_id": n + 1, "category_id": int(objects.labels[k]) + 1}
                if by == "masks":
                    pixels = np.asfortranarray(objects.masks[k].astype(np.uint8))
                    entry["segmentation"] = mask_tools.encode(pixels)
                    entry["area"] = int(objects.masks[k].sum())
                else:
                    entry["bbox"], entry["area"] = [x0, y0, x1 - x0, y1 - y0], (x1 - x0) * (y1 - y0)
                if name == "t":
                    entry |= {"id": len(entries) + 1, "iscrowd": 0}
                else:
                    entry["score"] = float(objects.scores[k])
                entries.append(entry)
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": n + 1, "height": SIDE, "width": SIDE} for n in range(len(truths))],
        "categories": [{"id": c + 1, "name": str(c)} for c in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes(results)
        evaluation = cocoeval.COCOeval(truth, found, "segm" if by == "masks" else "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.where(evaluation.stats[:6] < 0, np.nan, evaluation.stats[:6])


def drawn(boxes, step):
    """A mask for each box: it, or the ellipse in it."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    masks = np.zeros((len(boxes), SIDE, SIDE), bool)
    for k, (x0, y0, x1, y1) in enumerate(boxes):
        masks[k] = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        if step and k % 2:
            right, down = max(x1 - x0, 1) / 2, max(y1 - y0, 1) / 2
            masks[k] &= ((x - x0) / right - 1) ** 2 + ((y - y0) / down - 1) ** 2 <= 1
    return masks


def scene(rng, pictures, classes, *, step, masks, crowded=False):
    """Truths of all sizes, and detections: near ones, doubles, wrong ones, wrong classes.

    With a step, corners are multiples of it and scores tenths: ties of all kinds.
    """
    detections, truths = [], []
    for _ in range(pictures):
        g = 0 if rng.random() < 0.2 else int(rng.integers(1, 9))
        centre, size = rng.uniform(0, SIDE, (g, 2)), rng.choice([12, 30, 70, 120], (g, 1))
        size = size * rng.uniform(0.7, 1.2, (g, 2))
        boxes = np.hstack([centre - size / 2, centre + size / 2])
        labels = rng.integers(0, classes - 1, g)  # the last class is nowhere
        d = 0 if rng.random() < 0.2 else 150 if crowded else int(rng.integers(0, 20))
        which = rng.integers(0, max(g, 1), d if g else 0)
        shift = rng.normal(0, 0.08, (len(which), 4)) * np.tile(size[which], 2)
        near = np.where(rng.random((len(which), 1)) < 0.3, boxes[which], boxes[which] + shift)
        said = np.where(rng.random(len(which)) < 0.9, labels[which], rng.integers(0, classes, 1))
        if step:
            boxes, near = np.round(boxes / step) * step, np.round(near / step) * step
        boxes, near = (np.clip(b, 0, SIDE) for b in (boxes, near))
        near[:, 2:] = np.maximum(near[:, :2], near[:, 2:])
        scores = rng.random(len(which))
        scores = np.round(scores, 1) if step else scores
        pixels = [drawn(b, step) if masks else None for b in (boxes, near)]
        truths.append(Objects(boxes, labels, None, pixels[0]))
        detections.append(Objects(near, said, scores, pixels[1]))
    return detections, truths


@pytest.mark.parametrize("by", ["boxes", "masks"])
@pytest.mark.parametrize("step", [None, 0.25, 4.0], ids=["anywhere", "quarters", "coarse"])
def test_the_same_numbers(by, step, rng):
    for _ in range(12 if by == "boxes" else 4):
        classes, pictures = int(rng.integers(2, 6)), int(rng.integers(3, 25))
        scenes = scene(rng, pictures, classes, step=step, masks=by == "masks")
        if not any(map(len, scenes[0])):
            continue  # pycocotools takes no empty list
        ours = coco_average_precision(*scenes, classes=classes, by=by)
        np.testing.assert_allclose(ours, theirs(*scenes, classes, by), rtol=0, atol=1e-6)
        assert 0.05 < ours.ap < 0.95


def test_ties_everywhere(rng):
    """Corners on a grid of 16 pixels, scores in fifths: overlaps of 1/2, 3/5, 2/3 … many times."""
    for _ in range(12):
        detections, truths = [], []
        for _ in range(20):
            boxes = [boxes_on_grid(rng, int(rng.integers(1, 9)), size=64, step=16.0) for _ in "dt"]
            labels = [rng.integers(0, 2, len(b)) for b in boxes]
            detections.append(Objects(boxes[0], labels[0], rng.integers(0, 6, len(boxes[0])) / 5))
            truths.append(Objects(boxes[1], labels[1]))
        ours = coco_average_precision(detections, truths, classes=2)
        expected = theirs(detections, truths, 2, "boxes")
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)


def test_more_than_a_hundred_detections_in_a_picture(rng):
    scenes = scene(rng, 12, 2, step=None, masks=False, crowded=True)
    assert max((found.labels == 0).sum() for found in scenes[0]) > 100
    ours = coco_average_precision(*scenes, classes=2)
    np.testing.assert_allclose(ours, theirs(*scenes, 2, "boxes"), rtol=0, atol=1e-6)
