"""Where things are in a picture: boxes, and how well they were found."""

from tinydiff.vision.anchors import anchors_of, mean_fit, shape_iou
from tinydiff.vision.box_loss import giou_box_loss, l2_box_loss, smooth_l1_box_loss
from tinydiff.vision.boxes import area, clip, giou, iou, mask_iou, to_centres, to_corners
from tinydiff.vision.nms import nms, soft_nms
from tinydiff.vision.objects import Objects
from tinydiff.vision.yolo import YoloGrid, decode, detect
from tinydiff.vision.yolo_loss import YoloLoss, yolo_loss
from tinydiff.vision.yolo_targets import YoloTargets, assign

__all__ = [
    "Objects",
    "YoloGrid",
    "YoloLoss",
    "YoloTargets",
    "anchors_of",
    "area",
    "assign",
    "clip",
    "decode",
    "detect",
    "giou",
    "giou_box_loss",
    "iou",
    "l2_box_loss",
    "mask_iou",
    "mean_fit",
    "nms",
    "shape_iou",
    "smooth_l1_box_loss",
    "soft_nms",
    "to_centres",
    "to_corners",
    "yolo_loss",
]
