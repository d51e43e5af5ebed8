"""What a network is told about the picture it should see: here, class labels.

A conditional network has an attribute ``num_classes`` and knows one label more than that: labels
0 … num_classes−1 are the classes, and num_classes itself, the null label, says "no label".
Dropping labels at random in training teaches one network both p(x | c) and p(x), which is what
`tinydiff.diffusion.guidance` needs.

Source: J. Ho and T. Salimans, "Classifier-Free Diffusion Guidance", 2022, algorithm 1.
"""

from __future__ import annotations

import numpy as np

from tinydiff.backend import to_numpy


def null_label(model) -> int | None:
    """The label that says "no label" to a conditional model; None for an unconditional one."""
    return getattr(model, "num_classes", None)


def class_labels(model, cond) -> np.ndarray:
    """``cond`` as host int64 labels of shape (N,), checked against what ``model`` knows.

    Raises ValueError if the model is unconditional or a label lies outside 0 … num_classes,
    TypeError if the labels are not integers.
    """
    null = null_label(model)
    if null is None:
        raise ValueError(
            "cond: got labels, but the model is unconditional (it has no num_classes); "
            "leave cond out, or build the model with num_classes"
        )
    labels = to_numpy(cond)
    if labels.ndim != 1:
        raise ValueError(f"cond: expected labels of shape (N,), got shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cond: expected integer labels, got {labels.dtype}")
    if labels.size and not 0 <= labels.min() <= labels.max() <= null:
        raise ValueError(
            f"cond: expected labels 0 … {null - 1}, or {null} for none, "
            f"got {labels.min()} … {labels.max()}"
        )
    return labels.astype(np.int64)


def check_count(labels, x) -> None:
    """Raise ValueError unless there is one label per picture of x."""
    if len(labels) != len(x):
        raise ValueError(f"cond: expected one label per picture, got {len(labels)} for {len(x)}")


def drop_labels(labels: np.ndarray, null: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """A copy of ``labels`` (N,) in which each is replaced by ``null`` with probability ``rate``."""
    if not 0 <= rate <= 1:
        raise ValueError(f"drop: expected a probability in [0, 1], got {rate}")
    return np.where(rng.random(len(labels)) < rate, null, labels)


def training_labels(model, cond, x0, drop: float, rng: np.random.Generator) -> np.ndarray | None:
    """What ``model`` is told of pictures x0 in training: ``cond``, some dropped; None if it is
    unconditional.

    Raises ValueError or TypeError for labels that do not fit, or if a conditional model gets none.
    """
    null = null_label(model)
    if cond is None:
        if null is not None:
            raise ValueError(
                "cond: the model is conditional and learns from labels; "
                f"give {null}, the null label, to pictures that have none"
            )
        return None
    labels = class_labels(model, cond)
    check_count(labels, x0)
    return drop_labels(labels, null, drop, rng)
