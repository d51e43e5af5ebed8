"""What a network is told about the picture it should see: a class label, a caption, or a map.

Whatever it is, it is integers, as many for each picture, and one of them is the null condition,
which says "nothing is known":

    a model that has          is told                           and of nothing
    num_classes               labels (N,), 0 … num_classes−1    num_classes
    text, a `TextEncoder`     tokens (N, M) of captions         text.no_caption
    map_classes               maps (N, H, W), a class a pixel   map_classes, at each pixel

Dropping conditions at random in training teaches one network both p(x | c) and p(x), which is what
`tinydiff.diffusion.guidance` needs.

Source: J. Ho and T. Salimans, "Classifier-Free Diffusion Guidance", 2022, algorithm 1.
"""

from __future__ import annotations

import numpy as np

from tinydiff.backend import to_numpy


def null_condition(model) -> np.ndarray | None:
    """What says "nothing is known" of one picture to a conditional model: a label (), tokens (M,),
    or the class () that a map then has everywhere; None for an unconditional one."""
    for classes in ("num_classes", "map_classes"):
        if getattr(model, classes, None) is not None:
            return np.array(getattr(model, classes))
    text = getattr(model, "text", None)
    return None if text is None else text.no_caption


def nothing_known(model, x) -> np.ndarray | None:
    """The null condition of pictures x (N, H, W, C), or of whatever else has a length N."""
    null = null_condition(model)
    if null is None:
        return None
    maps = getattr(model, "map_classes", None) is not None
    return np.broadcast_to(null, x.shape[:3] if maps else (len(x), *null.shape)).copy()


def check_condition(model, cond) -> np.ndarray:
    """``cond`` as host int64 (N,), (N, M) or (N, H, W), checked against what ``model`` knows.

    Raises ValueError if the model is unconditional, the shape is another, or an integer lies
    outside of what there is, TypeError if they are no integers.
    """
    null = null_condition(model)
    if null is None:
        raise ValueError(
            "cond: got one, but the model is unconditional (it has no num_classes, no text and no "
            "map_classes); leave cond out, or build the model with one of them"
        )
    cond = to_numpy(cond)
    if null.ndim:
        wanted, highest = f"tokens (N, {len(null)})", model.text.vocabulary - 1
        known, fits = f"tokens 0 … {highest}", cond.ndim == 2 and cond.shape[1:] == null.shape
    else:
        maps, highest = getattr(model, "map_classes", None) is not None, int(null)
        wanted, axes = ("maps (N, H, W)", 3) if maps else ("labels (N,)", 1)
        known = f"{'classes' if maps else 'labels'} 0 … {null - 1}, or {null} for none"
        fits = cond.ndim == axes
    if not fits:
        raise ValueError(f"cond: expected {wanted}, got shape {cond.shape}")
    if cond.dtype.kind not in "iu":
        raise TypeError(f"cond: expected integers, got {cond.dtype}")
    if cond.size and not 0 <= cond.min() <= cond.max() <= highest:
        raise ValueError(f"cond: expected {known}, got {cond.min()} … {cond.max()}")
    return cond.astype(np.int64)


def check_count(cond, x) -> None:
    """Raise ValueError unless there is one condition per picture of x."""
    if len(cond) != len(x):
        raise ValueError(f"cond: expected one for each picture, got {len(cond)} for {len(x)}")


def drop_conditions(cond: np.ndarray, null, rate: float, rng: np.random.Generator) -> np.ndarray:
    """A copy of ``cond`` (N, …) in which each is replaced by ``null`` with probability ``rate``."""
    if not 0 <= rate <= 1:
        raise ValueError(f"drop: expected a probability in [0, 1], got {rate}")
    dropped = rng.random(len(cond)) < rate
    return np.where(dropped.reshape(-1, *[1] * (cond.ndim - 1)), null, cond)


def training_condition(model, cond, x0, drop: float, rng: np.random.Generator) -> np.ndarray | None:
    """What ``model`` is told of pictures x0 in training: ``cond``, some dropped; None if it is
    unconditional.

    Raises ValueError or TypeError for what does not fit, or if a conditional model gets nothing.
    """
    null = null_condition(model)
    if cond is None:
        if null is not None:
            raise ValueError(
                "cond: the model is conditional and learns from labels, captions or maps; "
                f"give {null}, the null condition, to pictures that have none"
            )
        return None
    cond = check_condition(model, cond)
    check_count(cond, x0)
    return drop_conditions(cond, null, drop, rng)
