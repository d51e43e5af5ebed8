"""Where things are in a picture: boxes, their losses, YOLO, masks, and how well they were found.

truths = objects_of(scenes.labels, scenes.boxes)          # Objects, one a picture; data.shapes()
anchors = anchors_of(sizes / cell_size, 5)                # shapes that boxes usually have
grid = YoloGrid((208, 208), (13, 13), anchors, classes)   # what the network's channels mean
loss = yolo_loss(network(x), assign(truths, grid), grid).total        # YoloBatches do assign
found = detect(network(x), grid)                          # Objects with scores, after nms
coco_average_precision(found, truths, classes=classes)
draw_objects(image, found[0], names)                      # a picture with its boxes
MaskFinder.load(path)(images)                             # Objects with masks, too

(found,) = Localiser.load(checkpoint)(picture[None])      # the one object of a picture
masks = Segmenter.load(checkpoint)(images)                # what class is at each pixel?
mean_iou(masks, data.semantic_masks(scenes.labels, scenes.instances), classes=1 + classes)
draw_mask(image, masks[0])
mask = Palette(names).read("my.png", side=64)             # a map that somebody has painted

told = what_is_so(images, captions, data.SIMPLE)        # is each caption true of its picture?
"""

from tinydiff.vision.anchors import anchors_of, mean_fit, shape_iou
from tinydiff.vision.average_precision import (
    CocoPrecision,
    average_precision,
    coco_average_precision,
)
from tinydiff.vision.box_loss import giou_box_loss, l2_box_loss, smooth_l1_box_loss
from tinydiff.vision.boxes import area, clip, giou, iou, mask_iou, to_centres, to_corners
from tinydiff.vision.draw import draw_mask, draw_names, draw_objects, draw_rows
from tinydiff.vision.find_in import find_in
from tinydiff.vision.finder import Finder
from tinydiff.vision.localiser import (
    BOX_LOSSES,
    Localiser,
    LocaliserLoss,
    LocaliserScores,
    localiser_loss,
    localiser_scores,
    located,
)
from tinydiff.vision.mask_finder import MaskFinder
from tinydiff.vision.masks import MaskBatches, crop_masks, mask_loss, paste_masks
from tinydiff.vision.mean_iou import class_iou, confusion_matrix, mean_iou
from tinydiff.vision.nms import nms, soft_nms
from tinydiff.vision.objects import Objects, describe, objects_of
from tinydiff.vision.palette import Palette
from tinydiff.vision.reader import Reader, Reading, Told, what_is_so
from tinydiff.vision.segmenter import Segmenter
from tinydiff.vision.yolo import YoloGrid, decode, detect
from tinydiff.vision.yolo_loss import YoloLoss, yolo_loss
from tinydiff.vision.yolo_targets import YoloBatches, YoloTargets, assign

__all__ = [
    "BOX_LOSSES",
    "CocoPrecision",
    "Finder",
    "Localiser",
    "LocaliserLoss",
    "LocaliserScores",
    "MaskBatches",
    "MaskFinder",
    "Objects",
    "Palette",
    "Reader",
    "Reading",
    "Segmenter",
    "Told",
    "YoloBatches",
    "YoloGrid",
    "YoloLoss",
    "YoloTargets",
    "anchors_of",
    "area",
    "assign",
    "average_precision",
    "class_iou",
    "clip",
    "coco_average_precision",
    "confusion_matrix",
    "crop_masks",
    "decode",
    "describe",
    "detect",
    "draw_mask",
    "draw_names",
    "draw_objects",
    "draw_rows",
    "find_in",
    "giou",
    "giou_box_loss",
    "iou",
    "l2_box_loss",
    "localiser_loss",
    "localiser_scores",
    "located",
    "mask_iou",
    "mask_loss",
    "mean_fit",
    "mean_iou",
    "nms",
    "objects_of",
    "paste_masks",
    "shape_iou",
    "smooth_l1_box_loss",
    "soft_nms",
    "to_centres",
    "to_corners",
    "what_is_so",
    "yolo_loss",
]
