"""YOLO written out in loops, one box at a time, from the formulas: slow, and easy to check.

Everything is a Python number; boxes are corners in pixels.
"""

import math

import numpy as np


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either > 0 else 0.0


def numbers(output, grid):
    """(picture, row, column, anchor), its 5 + C numbers, for each box of the grid"""
    rows, columns = grid.cells
    size = 5 + grid.classes
    for n in range(len(output)):
        for i in range(rows):
            for j in range(columns):
                for a in range(len(grid.anchors)):
                    yield (n, i, j, a), [float(v) for v in output[n, i, j, a * size :][:size]]


def box_of(place, t, grid):
    (height, width), (rows, columns) = grid.picture, grid.cells
    _, i, j, a = place
    x, y = (j + sigmoid(t[0])) / columns * width, (i + sigmoid(t[1])) / rows * height
    w = grid.anchors[a][0] * math.exp(t[2]) / columns * width
    h = grid.anchors[a][1] * math.exp(t[3]) / rows * height
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def class_probabilities(t):
    e = [math.exp(v) for v in t[5:]]
    return [v / sum(e) for v in e]


def answering(truths, grid):
    """place → (box, label): which box of the grid answers for which object"""
    (height, width), (rows, columns) = grid.picture, grid.cells
    found = {}
    for n, picture in enumerate(truths):
        for box, label in zip(picture.boxes.tolist(), picture.labels.tolist(), strict=True):
            w, h = (box[2] - box[0]) / width * columns, (box[3] - box[1]) / height * rows
            if w * h == 0:
                continue
            j = min(math.floor((box[0] + box[2]) / 2 / width * columns), columns - 1)
            i = min(math.floor((box[1] + box[3]) / 2 / height * rows), rows - 1)
            likeness = [overlap((0, 0, w, h), (0, 0, *p)) for p in grid.anchors.tolist()]
            for a in sorted(range(len(likeness)), key=lambda a: -likeness[a]):
                if (n, i, j, a) not in found:
                    found[n, i, j, a] = box, label
                    break
    return found


def terms(output, truths, grid, overlaps=None):
    """boxes, objects, classes, background, prior; overlaps: place → the IoU to take as target"""
    (height, width), (rows, columns) = grid.picture, grid.cells
    found = answering(truths, grid)
    sums = np.zeros(5)
    for place, t in numbers(output, grid):
        n, i, j, a = place
        sx, sy, confidence = sigmoid(t[0]), sigmoid(t[1]), sigmoid(t[4])
        now = box_of(place, t, grid)
        if place in found:
            box, label = found[place]
            share = (box[2] - box[0]) * (box[3] - box[1]) / (width * height)
            x, y = (box[0] + box[2]) / 2 / width * columns, (box[1] + box[3]) / 2 / height * rows
            w = math.log((box[2] - box[0]) / width * columns / grid.anchors[a][0])
            h = math.log((box[3] - box[1]) / height * rows / grid.anchors[a][1])
            error = (sx - (x - j)) ** 2 + (sy - (y - i)) ** 2 + (t[2] - w) ** 2 + (t[3] - h) ** 2
            sums[0] += 0.5 * (2 - share) * error
            target = overlap(now, box) if overlaps is None else overlaps[place]
            sums[1] += 0.5 * 5 * (confidence - target) ** 2
            sums[2] += -math.log(class_probabilities(t)[label])
        else:
            if max([overlap(now, b) for b in truths[n].boxes.tolist()], default=0) <= 0.6:
                sums[3] += 0.5 * confidence**2
            sums[4] += 0.005 * ((sx - 0.5) ** 2 + (sy - 0.5) ** 2 + t[2] ** 2 + t[3] ** 2)
    return sums / len(output)


def overlaps_now(output, truths, grid):
    """place → IoU of the box there with its object"""
    found = answering(truths, grid)
    return {
        place: overlap(box_of(place, t, grid), found[place][0])
        for place, t in numbers(output, grid)
        if place in found
    }
