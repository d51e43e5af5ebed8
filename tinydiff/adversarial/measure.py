"""What an attack achieves: whom it fools, how far it went, and whether others are fooled too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tinydiff import ops
from tinydiff.adversarial.ball import length
from tinydiff.adversarial.network import attacking, labels, logits_of, pictures
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.checks import at_least_one
from tinydiff.nn import Module
from tinydiff.nn.checks import is_module

BATCH = 250


class Outcome(NamedTuple):
    """Of an attack on N pictures, all on the host.

    pictures  (N, H, W, C), what it made of them
    seen      int64 (N,), the class that the model sees in each
    l2, linf  float64 (N,), how far each is from what it was
    """

    pictures: np.ndarray
    seen: np.ndarray
    l2: np.ndarray
    linf: np.ndarray


def classes_seen(model: Module, x) -> np.ndarray:
    """The most likely class of each picture, int64 (N,) on the host.

    model  a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`
    x      floats in [0, 1]

    Raises ValueError or TypeError for arguments that do not fit.
    """
    return _answers(model, x, lambda logits: logits.argmax(axis=1)).astype(np.int64)


def probabilities(model: Module, x) -> np.ndarray:
    """How likely each class is in each picture, (N, K) on the host: the softmax of the logits.

    The arguments, and what is raised, are as of `classes_seen`.
    """
    return _answers(model, x, lambda logits: ops.softmax(logits).data)


def _answers(model: Module, x, read: Callable) -> np.ndarray:
    """What is read from the logits of all pictures, a batch at a time"""
    is_module(model)
    x = pictures(x)
    with attacking(model, x):
        parts = [read(logits_of(model, x[i : i + BATCH])) for i in range(0, len(x), BATCH)]
    return to_numpy(xp.concatenate(parts))


def carried_out(
    attack: Callable,
    model: Module,
    x,
    y,
    *,
    batch: int = BATCH,
    progress: str | None = None,
    **settings,
) -> Outcome:
    """attack(model, x, y, **settings), a batch at a time.

    x, y      pictures (N, H, W, C) and a class for each, as the attack takes them
    batch     how many pictures that is
    progress  what to call it in a progress bar; None shows none

    Raises ValueError or TypeError for a batch below 1, for no pictures, unless there is a class for
    each, and as the attack does.
    """
    from tqdm import tqdm  # see tinydiff/training/progress.py

    at_least_one(batch=batch)
    if not len(x):
        raise ValueError("x: expected pictures, got none")
    y = labels(y, len(x))
    parts = []
    with tqdm(total=len(x), desc=progress, leave=False, disable=progress is None) as bar:
        for i in range(0, len(x), batch):
            some = asarray(x[i : i + batch])
            changed = attack(model, some, y[i : i + batch], **settings)
            d = changed.astype(np.float64) - some
            far = [to_numpy(length(d, norm)).reshape(-1) for norm in (2, math.inf)]
            parts.append((to_numpy(changed), classes_seen(model, changed), *far))
            bar.update(len(some))
    return Outcome(*map(np.concatenate, zip(*parts, strict=True)))


def transfer(attack: Callable, models: Sequence[Module], x, y, **settings) -> np.ndarray:
    """The share of pictures that each model still sees rightly, (M, M).

    Row i: of those that ``attack`` made against model i; column j: as model j sees them.
    The arguments, and what is raised, are as of `carried_out`.
    """
    rows = []
    for model in models:
        changed = carried_out(attack, model, x, y, **settings).pictures
        rows.append([(classes_seen(other, changed) == y).mean() for other in models])
    return np.array(rows)
