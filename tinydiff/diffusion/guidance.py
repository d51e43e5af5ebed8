"""Classifier-free guidance: away from what the network would draw anyway, towards the label.

    ε̂(x, t) = ε(x, t) + w (ε(x, t, c) − ε(x, t))

w = 0 ignores the label, w = 1 is the plain conditional model, and w > 1 exaggerates what sets
the label apart: clearer pictures, fewer kinds of them.

Source: J. Ho and T. Salimans, "Classifier-Free Diffusion Guidance", 2022.  Their equation 6 has
(1 + w) ε(x, t, c) − w ε(x, t): their w is ours minus 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydiff.backend import xp
from tinydiff.diffusion.conditioning import check_count, class_labels, null_label
from tinydiff.diffusion.denoiser import denoiser
from tinydiff.diffusion.gaussian import GaussianDiffusion


def classifier_free(model, diffusion: GaussianDiffusion, cond, *, scale: float) -> Callable:
    """The denoiser of ``model`` guided with weight ``scale`` (w above) to the labels cond (N,).

    One evaluation of the model a step for scales 0 and 1, one of twice the batch for all others.
    Raises ValueError if the model is unconditional, does not know a label, or scale is not finite.
    """
    scale = float(scale)
    if not math.isfinite(scale):
        raise ValueError(f"scale: expected a finite number, got {scale}")
    labels = class_labels(model, cond)
    if scale == 1:
        return denoiser(model, diffusion, labels)
    nulls = np.full_like(labels, null_label(model))
    if scale == 0:
        return denoiser(model, diffusion, nulls)
    both = denoiser(model, diffusion, np.concatenate([labels, nulls]))

    def guided(x, t):
        check_count(labels, x)
        eps = both(xp.concatenate([x, x]), np.concatenate([t, t]))
        with_label, without = eps[: len(x)], eps[len(x) :]
        return without + scale * (with_label - without)

    return guided
