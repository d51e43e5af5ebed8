"""Segmentation: of the pixels that are, or are said to be, of a class, how many are both?

With M[t, p] the number of pixels of class t that are said to be of class p,

    IoU of class c = M[c, c] / (Σ_p M[c, p] + Σ_t M[t, c] − M[c, c])

counted over all pictures together, not averaged over them.  A class that neither is anywhere nor is
said to be has no IoU (NaN), and counts for nothing in the mean.

Source: M. Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", 2010, section
4.3.
"""

from __future__ import annotations

import numpy as np


def confusion_matrix(predicted: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """M (classes, classes) of two arrays of classes, of one shape; those of batches add up.

    Pixels whose true class is negative are left out.
    Raises TypeError or ValueError, naming the argument, where something else comes.
    """
    predicted, true = np.asarray(predicted), np.asarray(true)
    if predicted.shape != true.shape:
        raise ValueError(
            f"predicted: expected shape {true.shape} as of true, got {predicted.shape}"
        )
    counted = true >= 0
    for name, labels in (("predicted", predicted), ("true", true)):
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{name}: expected integers, got {labels.dtype}")
        labels = labels[counted]
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(
                f"{name}: expected classes 0 … {classes - 1}, got {labels.min()} … {labels.max()}"
            )
    cells = true[counted].astype(np.int64) * classes + predicted[counted].astype(np.int64)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """The IoU of each class, (classes,), NaN where there is none; np.nanmean is their mean."""
    both = np.diagonal(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def mean_iou(predicted: np.ndarray, true: np.ndarray, classes: int) -> float:
    """The mean IoU over classes; NaN if no pixel is counted.  See `confusion_matrix`."""
    found = class_iou(confusion_matrix(predicted, true, classes))
    return float(np.nanmean(found)) if not np.isnan(found).all() else float("nan")
