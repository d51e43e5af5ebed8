"""What a network withstands: the row of a table that compares defences.

No single attack tells.  A defence may only have made the gradient useless for the attacks that need
it; then one that asks no gradient (square) finds more than one that does (PGD), or a larger ε no
more than a smaller one.  So several are tried, and beside them stand how far the next class is, by
DeepFool, and of how many pictures the class is certain, whatever the attack (`Smoothed`).

Source: N. Carlini et al., "On evaluating adversarial robustness", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from tinydiff.adversarial.black_box import square
from tinydiff.adversarial.boundary import crossing, distance_to_boundary
from tinydiff.adversarial.gradient import fgsm, pgd
from tinydiff.adversarial.measure import Outcome, carried_out, classes_seen
from tinydiff.adversarial.network import labels
from tinydiff.adversarial.smoothing import Smoothed
from tinydiff.backend import to_numpy
from tinydiff.checks import at_least_one, positive
from tinydiff.metrics.distances import squared_distances
from tinydiff.nn import Module

EPS = {"digits": 0.3, "mnist": 0.3, "fashion-mnist": 0.1}
COLOUR = 8 / 255
STEPS, ALPHA = 40, 1 / 30  # of PGD, and as a share of ε
L2 = 20 / 3  # times ε: as far as PGD in L2 may go


class Robustness(NamedTuple):
    """Shares of the pictures that are seen rightly, of 1: clean, and under each attack.

    What is taken for something else when clean counts as what it is taken for under the attack:
    by chance that may be right.

    distance   mean distance to the boundary in L2, or rather the least upper bound that is found;
               0 for what is taken for something else anyway, and infinite if nothing is found
    certified  of how many the network smoothed by noise is certain, and right, within the radius
    """

    clean: float
    fgsm: float
    pgd: float
    pgd_l2: float
    square: float
    distance: float
    certified: float


def usual_eps(data: str) -> float:
    """ε in L∞ for pictures of the data set of that name, as the field has it."""
    return EPS.get(data.removesuffix("-train"), COLOUR)


def under_pgd(
    model: Module, x, y, eps: float, *, norm: float = math.inf, seed: int = 0, progress=None
) -> Outcome:
    """PGD of 40 steps of ε/30 (0.01 for ε 0.3) from a random point: the usual measure."""
    rng = np.random.default_rng(seed)
    settings = {"norm": norm, "steps": STEPS, "step": ALPHA * eps, "rng": rng}
    return carried_out(pgd, model, x, y, eps=eps, progress=progress, **settings)


def robustness(
    model: Module,
    x,
    y,
    *,
    eps: float,
    sigma: float = 0.25,
    radius: float = 0.5,
    few: int = 200,
    seed: int = 0,
    progress: bool = False,
) -> Robustness:
    """What the model withstands, measured on pictures x of the classes y.

    model          a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`
    x, y           floats in [0, 1], and the class of each; some of each class
    eps            ε in L∞; in L2 it is 20/3 times as much
    sigma, radius  of the noise that smooths, and what is to be certain, in L2
    few            the square attack, distances and certificates take long: only for so many
    seed           the same, the same numbers

    Raises ValueError or TypeError for arguments that do not fit.
    """
    positive(eps=eps, sigma=sigma, radius=radius)
    at_least_one(few=few)
    rng, y = np.random.default_rng(seed), labels(y, len(x))

    def share(found: np.ndarray) -> float:
        return float((found == y[: len(found)]).mean())

    def bar(what: str) -> str | None:
        return what if progress else None

    some = x[:few], y[:few]
    step_by_step = {"seed": seed, "progress": bar("PGD")}
    boxed = carried_out(square, model, *some, eps=eps, rng=rng, progress=bar("square"))
    far = _distances(model, x, y, len(some[1]), bar("DeepFool"))
    certain = Smoothed(model, sigma).certify(some[0], rng=rng, progress=bar("noise"))
    return Robustness(
        clean=share(classes_seen(model, x)),
        fgsm=share(carried_out(fgsm, model, x, y, eps=eps).seen),
        pgd=share(under_pgd(model, x, y, eps, **step_by_step).seen),
        pgd_l2=share(under_pgd(model, x, y, L2 * eps, norm=2, **step_by_step).seen),
        square=share(boxed.seen),
        distance=float(far[np.isfinite(far)].mean()) if np.isfinite(far).any() else math.inf,
        certified=certain.accuracy(some[1], radius),
    )


def _distances(model: Module, x, y: np.ndarray, few: int, progress: str | None) -> np.ndarray:
    """Of the first few, by DeepFool or on the way to the nearest of x of another class: (few,)"""
    some, seen = x[:few], partial(classes_seen, model)
    points = to_numpy(x).reshape(len(x), -1)
    apart = np.concatenate(list(squared_distances(points[:few], points)))
    nearest = np.where(y[:few, None] == y, np.inf, apart).argmin(axis=1)
    across = np.where(seen(some) == y[:few], crossing(seen, some, x[nearest]), 0.0)
    return np.minimum(across, distance_to_boundary(model, some, y[:few], progress=progress))


COLUMNS = "clean", "FGSM", f"PGD-{STEPS}", "PGD in L2", "square *", "distance *", "certified *"


def robustness_table(known: Mapping[str, Robustness]) -> str:
    """Lines of text: the columns' names, and a row for each network; * is for the few."""
    lines = [f"{'':<24}" + "".join(f"{name:>12}" for name in COLUMNS)]
    for name, row in known.items():
        cells = [f"{v:.2f}" if k == "distance" else f"{v:.1%}" for k, v in row._asdict().items()]
        lines.append(f"{name:<24}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)
