"""How wrong a predicted box is, as a loss: of its four numbers, or of what it covers.

    L2           Σᵢ rᵢ²                                    r = prediction − target, four numbers
    smooth L1    Σᵢ ½ rᵢ²/β  where |rᵢ| < β, else |rᵢ| − ½β
    GIoU         1 − GIoU                                  0 … 2, whatever the size of the box

L2 and smooth L1 take any four numbers, corners or centres and sizes, but treat them as if they had
nothing to do with each other; smooth L1 is not thrown off by a box that is far out.  GIoU takes
corners with x0 ≤ x1 and y0 ≤ y1, and pulls also boxes together that do not meet.

Sources: R. Girshick, "Fast R-CNN", 2015, equations 2 and 3; H. Rezatofighi et al., "Generalized
Intersection over Union", 2019, algorithm 2.
"""

from __future__ import annotations

from tinydiff import backend, ops
from tinydiff.ops.loss import reduce, same_shape
from tinydiff.tensor import Tensor
from tinydiff.vision.boxes import giou_of


def l2_box_loss(prediction: Tensor, target, *, reduction: str = "mean") -> Tensor:
    """Σ (prediction − target)² of each box (…, 4); reduction "mean" over boxes, "sum" or "none"."""
    _check("l2_box_loss", prediction, target)
    return reduce(ops.mse_loss(prediction, target, reduction="none").sum(axis=-1), reduction)


def smooth_l1_box_loss(
    prediction: Tensor, target, *, beta: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Σ huber(prediction − target)/β of each box (…, 4), quadratic within ±β, slope ±1 beyond."""
    _check("smooth_l1_box_loss", prediction, target)
    loss = ops.huber_loss(prediction, target, delta=beta, reduction="none") / beta
    return reduce(loss.sum(axis=-1), reduction)


def giou_box_loss(prediction: Tensor, target, *, reduction: str = "mean") -> Tensor:
    """1 − GIoU of each pair of boxes, corners (…, 4)."""
    _check("giou_box_loss", prediction, target)
    if not isinstance(target, Tensor):
        target = Tensor(backend.asarray(target, prediction.dtype))
    return reduce(1 - giou_of(prediction, target, ops), reduction)


def _check(name: str, prediction, target) -> None:
    same_shape(name, prediction, target)
    if prediction.ndim == 0 or prediction.shape[-1] != 4:
        raise ValueError(f"{name}: expected boxes (…, 4), got shape {prediction.shape}")
