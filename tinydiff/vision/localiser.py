"""Classification and localisation: what does a picture show, and where in it is that?

For pictures of one object each, of class k in the box b (from 0 to 1 across the picture), a network
that says the logits c and the box b̂ is to minimise

    L = −ln softmax(c)_k + λ·D(b̂, b)

where D is one of `BOX_LOSSES`.  λ weighs a box against a class: their units differ, so there is no
value that is right by itself.

localiser = Localiser.load("runs/localise/checkpoint.npz")
(found,) = localiser(picture[None])                       # Objects, one of them

Source: O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015, section
4.2 (single-object localisation, and when an answer is right).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tinydiff import backend, ops
from tinydiff.models import LocaliserNetwork, backbone_weights
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor
from tinydiff.training import CheckpointError, Trained, check_settings, load, trained_weights
from tinydiff.vision.box_loss import giou_box_loss, l2_box_loss, smooth_l1_box_loss
from tinydiff.vision.boxes import clip, iou_of
from tinydiff.vision.looking import check_pictures, look_at
from tinydiff.vision.objects import Objects

BETA = 0.05  # of smooth L1: from a twentieth of the picture on, an error counts linearly
BOX_LOSSES: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "l2": l2_box_loss,
        "smooth_l1": partial(smooth_l1_box_loss, beta=BETA),
        "giou": giou_box_loss,
    }
)
HALF = 0.5  # the least IoU of a box that is called right


class LocaliserLoss(NamedTuple):
    """The terms of the loss, one number each, means over the pictures; λ is in ``box``."""

    classes: Tensor
    box: Tensor

    @property
    def total(self) -> Tensor:
        return self.classes + self.box


def localiser_loss(
    output: Tensor, labels: np.ndarray, boxes, *, box_loss: str = "giou", weight: float = 1.0
) -> LocaliserLoss:
    """The joint loss of what a `LocaliserNetwork` says, (N, 4 + C).

    labels    (N,) integers, the classes
    boxes     (N, 4) corners, from 0 to 1 across the picture; without area is allowed
    box_loss  a name in BOX_LOSSES
    weight    λ ≥ 0; for 0 nothing is learned about boxes
    Raises ValueError for another name, weight or shape.
    """
    if box_loss not in BOX_LOSSES:
        raise ValueError(f"box_loss: expected one of {', '.join(BOX_LOSSES)}, got {box_loss!r}")
    if not 0 <= weight < np.inf:
        raise ValueError(f"weight: expected a finite number ≥ 0, got {weight}")
    _check_output(output)
    return LocaliserLoss(
        classes=ops.cross_entropy(output[:, 4:], labels),
        box=BOX_LOSSES[box_loss](output[:, :4], boxes) * weight,
    )


def located(output: Tensor, height: int, width: int) -> list[Objects]:
    """What an output (N, 4 + C) says of pictures of so many pixels: one object for each.

    Its box is cut off at the picture's border, its score is the probability of its class.
    """
    _check_output(output)
    with no_grad():
        shares = backend.to_numpy(ops.softmax(output[:, 4:]).data)
    boxes = backend.to_numpy(output.data[:, :4]).astype(np.float64)
    boxes = clip(boxes * [width, height, width, height], height, width)
    labels = shares.argmax(axis=1)
    return [
        Objects(box[None], label[None], share[label][None])
        for box, label, share in zip(boxes, labels, shares, strict=True)
    ]


class LocaliserScores(NamedTuple):
    """How good answers are: shares of the pictures, and a mean over them.

    iou      the mean IoU of the box found and the true one, whatever class was said
    classes  the share of the right class
    both     the share of the right class in a box whose IoU with the true one is at least ½, the
             measure of ILSVRC
    """

    iou: float
    classes: float
    both: float


def localiser_scores(found: Sequence[Objects], truths: Sequence[Objects]) -> LocaliserScores:
    """The scores of answers for pictures of one object each; ValueError for other numbers."""
    if len(found) != len(truths) or not truths:
        raise ValueError(f"found: of {len(found)} pictures, truths of {len(truths)}")
    for name, several in (("found", found), ("truths", truths)):
        odd = next((i for i, objects in enumerate(several) if len(objects) != 1), None)
        if odd is not None:
            raise ValueError(f"{name}[{odd}]: expected one object, got {len(several[odd])}")
    said, true = (
        [np.concatenate([getattr(o, field) for o in several]) for field in ("boxes", "labels")]
        for several in (found, truths)
    )
    overlap, right = iou_of(said[0], true[0]), said[1] == true[1]
    both = right & (overlap >= HALF)
    return LocaliserScores(float(overlap.mean()), float(right.mean()), float(both.mean()))


class Localiser(Trained):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    classes    names of the classes
    localiser  keyword settings of `LocaliserNetwork`

    Called as localiser(images): uint8 (N, H, W, 3) → Objects, one for each, with its score; H and
    W are multiples of ``localiser.model.stride``.
    Raises ValueError for settings that lack something or have what there is not.
    """

    called, trained_by = "a localiser", "examples/localise.py"

    def __init__(self, settings: Mapping):
        check_settings(settings, "classes", "localiser")
        self.classes = tuple(settings["classes"])
        self._network = settings["localiser"]
        self.model = LocaliserNetwork(3, len(self.classes), **self._network)

    def take_backbone(self, path: str | os.PathLike) -> None:
        """Begin with what another run's network has learned: transfer.

        That network is a `LocaliserNetwork` or a `Detector` of the same backbone settings, whatever
        its heads; its averaged weights are taken.
        Raises FileNotFoundError, or CheckpointError for a file that holds no such run.
        """
        state = load(path)
        try:
            self.model.backbone.load_state_dict(backbone_weights(trained_weights(state)))
        except (LookupError, TypeError, ValueError):
            raise CheckpointError(
                f"{os.fspath(path)}: a checkpoint, but of no network with such a backbone: "
                f"{self._network}"
            ) from None

    def __call__(self, images: np.ndarray) -> list[Objects]:
        check_pictures(images)
        size = images.shape[1:3]
        return look_at(self.model, images, lambda y: located(y, *size), doing="localising")


def _check_output(output: Tensor) -> None:
    if output.ndim != 2 or output.shape[1] < 5:
        raise ValueError(f"output: expected (N, 4 + classes), got shape {output.shape}")
