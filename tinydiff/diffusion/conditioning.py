"""What a network is told about the picture it should see: a label, a caption, a vector or a map.

It is an array on the host, as many numbers for each picture, and some of them are the null
condition, which says "nothing is known":

    a model that has          is told                           and of nothing
    num_classes               labels (N,), 0 … num_classes−1    num_classes
    text, a `TextEncoder`     tokens (N, M) of captions         text.no_caption
    embedding, a size         vectors (N, embedding), floats    zeros
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
    a vector (embedding,), or the class () that a map then has everywhere; None for an unconditional
    one."""
    for classes in ("num_classes", "map_classes"):
        if getattr(model, classes, None) is not None:
            return np.array(getattr(model, classes))
    text, size = getattr(model, "text", None), getattr(model, "embedding", None)
    if size is not None:
        return np.zeros(size, np.float32)
    return None if text is None else text.no_caption


def nothing_known(model, x) -> np.ndarray | None:
    """The null condition of pictures x (N, H, W, C), or of whatever else has a length N."""
    null = null_condition(model)
    if null is None:
        return None
    maps = getattr(model, "map_classes", None) is not None
    return np.broadcast_to(null, x.shape[:3] if maps else (len(x), *null.shape)).copy()


def check_condition(model, cond) -> np.ndarray:
    """``cond`` on the host, as int64 (N,), (N, M) or (N, H, W), or float32 (N, embedding), checked
    against what ``model`` knows.

    Raises ValueError if the model is unconditional, the shape is another, an integer lies outside
    of what there is, or a float is not finite, TypeError if they are no integers, or no floats.
    """
    null = null_condition(model)
    if null is None:
        raise ValueError(
            "cond: got one, but the model is unconditional (it has no num_classes, text, "
            "embedding or map_classes); leave cond out, or build the model with one of them"
        )
    cond = to_numpy(cond)
    if null.dtype.kind == "f":
        return _check_vectors(cond, len(null))
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


def _check_vectors(cond: np.ndarray, size: int) -> np.ndarray:
    if cond.ndim != 2 or cond.shape[1] != size:
        raise ValueError(f"cond: expected vectors (N, {size}), got shape {cond.shape}")
    if cond.dtype.kind != "f":
        raise TypeError(f"cond: expected floats, got {cond.dtype}")
    if not np.isfinite(cond).all():
        raise ValueError("cond: expected finite numbers, got NaN or infinity")
    return cond.astype(np.float32)


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
            null = "zeros" if null.dtype.kind == "f" else null
            raise ValueError(
                "cond: the model is conditional and learns from labels, captions, vectors or maps; "
                f"give {null}, the null condition, to pictures that have none"
            )
        return None
    cond = check_condition(model, cond)
    check_count(cond, x0)
    return drop_conditions(cond, null, drop, rng)
