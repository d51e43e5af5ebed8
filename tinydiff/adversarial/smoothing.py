"""Randomised smoothing: a network asked about noisy copies, whose answer comes with a guarantee.

    g(x) = argmax_c P[f(x + σε) = c],    ε ~ N(0, I)

If P[f(x + σε) = c] ≥ p > ½, then g says c of every picture nearer to x than

    R = σ Φ⁻¹(p)        in L2; Φ is the normal distribution function

whatever the network f is, and whatever the attack.  For most of the noise around x + d falls where
that around x does, and there f cannot tell which of the two it is.  The f that changes its mind
soonest is a half-space, and its edge is at R.

Nobody knows p: it is bounded from draws (`binomial`), so that the guarantee is wrong with
probability α at most.  f should have learned from pictures with the same noise
(``train_classifier(…, noise=sigma)``), or it sees nothing in them.

Source: J. Cohen, E. Rosenfeld and Z. Kolter, "Certified adversarial robustness via randomized
smoothing", ICML 2019: theorem 1, and PREDICT and CERTIFY of section 3.2.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from tinydiff.adversarial import network
from tinydiff.adversarial.binomial import check_level, lower_bound, two_sided
from tinydiff.backend import randn, to_numpy, xp
from tinydiff.checks import at_least_one, positive
from tinydiff.nn import Module
from tinydiff.nn.checks import is_module

ABSTAIN = -1  # no class: the draws do not tell, or not surely enough
BATCH = 500  # noisy pictures that the network is asked about at a time


class Certificates(NamedTuple):
    """Of N pictures, on the host.

    classes  int64 (N,), what the smoothed network says of each, or `ABSTAIN`
    radii    float64 (N,), up to what distance in L2 it says so of all pictures; 0 for `ABSTAIN`
    """

    classes: np.ndarray
    radii: np.ndarray

    def accuracy(self, y: np.ndarray, radius: float = 0.0) -> float:
        """The certified accuracy: of how many pictures the class is y at least so far around."""
        return float(((self.classes == y) & (self.radii >= radius)).mean())

    def within(self, i: int) -> str:
        """The radius of one picture in words, rounded down: nothing is promised beyond it."""
        return f"within {math.floor(1000 * self.radii[i]) / 1000:.3f}"


class Smoothed:
    """The network ``model`` seen through Gaussian noise of standard deviation ``sigma``.

    model  a Module of pictures in [0, 1], (N, H, W, C) → logits (N, K): see `on_pictures`.  With
           the noise they leave [0, 1], and are not clipped
    sigma  σ, in the same unit: 1 is from black to white

    In its methods x are such pictures, ``rng`` draws the noise, the process's generator by
    default, and ``progress`` is what to call it in a progress bar; None shows none.  The model
    stays as it was.  All raise ValueError or TypeError for arguments that do not fit.
    """

    def __init__(self, model: Module, sigma: float):
        is_module(model)
        positive(sigma=sigma)
        self.model, self.sigma = model, sigma

    def look(self, x, *, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
        """A noisy copy of each picture, (N, H, W, C), and what the network sees there, int64 (N,)

        Both on the host; of a batch that is not too large.
        """
        x, _ = network.asked(self.model, x)
        with network.attacking(self.model, x):
            noisy, seen = self._look(x, rng)
        return to_numpy(noisy), to_numpy(seen).astype(np.int64)

    def _look(self, x, rng) -> tuple:
        noisy = x + self.sigma * randn(x.shape, rng=rng, dtype=x.dtype)
        return noisy, network.logits_of(self.model, noisy).argmax(axis=1)

    def counts(
        self,
        x,
        draws: int,
        *,
        rng: np.random.Generator | None = None,
        progress: str | None = None,
    ) -> np.ndarray:
        """In how many of so many noisy copies of each picture each class is seen: int64 (N, K)"""
        from tqdm import tqdm  # see tinydiff/training/progress.py

        x, classes = network.asked(self.model, x)
        at_least_one(draws=draws)
        copies = len(x) * draws  # of the first picture, then of the second …
        total = xp.zeros(len(x) * classes, np.int32)  # on a GPU, add.at knows no int64
        with (
            network.attacking(self.model, x),
            tqdm(total=copies, desc=progress, leave=False, disable=progress is None) as bar,
        ):
            for first in range(0, copies, BATCH):
                of = xp.arange(first, min(first + BATCH, copies)) // draws
                _, seen = self._look(x[of], rng)
                xp.add.at(total, of * classes + seen, 1)
                bar.update(len(seen))
        return to_numpy(total).astype(np.int64).reshape(len(x), classes)

    def predict(
        self,
        x,
        *,
        draws: int = 1000,
        alpha: float = 0.001,
        rng: np.random.Generator | None = None,
        progress: str | None = None,
    ) -> np.ndarray:
        """The class that g sees in each picture, or `ABSTAIN`: int64 (N,)

        With probability 1 − α at least, over the draws, what is said of a picture is g(x), or
        `ABSTAIN`: that where the two most frequent classes might be as likely.
        """
        check_level(alpha)
        found = self.counts(x, draws, rng=rng, progress=progress)
        second, first = np.sort(found, axis=1)[:, -2:].T
        uneven = [two_sided(a, a + b) <= alpha for a, b in zip(first, second, strict=True)]
        return np.where(uneven, found.argmax(axis=1), ABSTAIN)

    def certify(
        self,
        x,
        *,
        select: int = 100,
        draws: int = 1000,
        alpha: float = 0.001,
        rng: np.random.Generator | None = None,
        progress: str | None = None,
    ) -> Certificates:
        """The class that g sees in each picture, and the radius R around it where g sees no other.

        With probability 1 − α at least, over the draws, what is said of a picture is true:
        g(x + d) is that class for all ‖d‖₂ < R; or it is `ABSTAIN`, which promises nothing.

        select  draws that choose the class; others, the next, tell how likely it is: the same
                would flatter it
        draws   R is σ Φ⁻¹(α^(1/draws)) at most, where they all agree
        """
        at_least_one(select=select, draws=draws)
        check_level(alpha)
        chosen = self.counts(x, select, rng=rng, progress=progress).argmax(axis=1)
        found = self.counts(x, draws, rng=rng, progress=progress)[np.arange(len(x)), chosen]
        p = np.array([lower_bound(k, draws, alpha) for k in found])
        radii = [self.sigma * NormalDist().inv_cdf(max(q, 0.5)) for q in p]
        return Certificates(np.where(p < 0.5, ABSTAIN, chosen), np.array(radii))
