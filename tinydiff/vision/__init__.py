"""Where things are in a picture: boxes, and how well they were found."""

from tinydiff.vision.box_loss import giou_box_loss, l2_box_loss, smooth_l1_box_loss
from tinydiff.vision.boxes import area, clip, giou, iou, mask_iou, to_centres, to_corners
from tinydiff.vision.nms import nms, soft_nms
from tinydiff.vision.objects import Objects

__all__ = [
    "Objects",
    "area",
    "clip",
    "giou",
    "giou_box_loss",
    "iou",
    "l2_box_loss",
    "mask_iou",
    "nms",
    "smooth_l1_box_loss",
    "soft_nms",
    "to_centres",
    "to_corners",
]
