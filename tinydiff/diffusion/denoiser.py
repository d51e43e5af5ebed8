"""From a trained network to a denoiser, the one thing samplers ask for: denoise(x, t) -> eps.

A denoiser works on backend arrays, remembers no graph, and predicts the noise ε whatever the
network predicts.  Its condition is bound in, so that guidance is a denoiser made of denoisers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinydiff import kernels
from tinydiff.backend import memory_for
from tinydiff.diffusion.conditioning import check_count, class_labels, null_label
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.tensor import Tensor


def denoiser(model, diffusion: GaussianDiffusion, cond=None) -> Callable:
    """denoise(x, t) -> eps: x and eps (N, ...) backend arrays, t (N,) host numbers in 0 … T−1.

    model  called as model(x, t, cond); put it into evaluation mode first, with ``model.eval()``
    cond   a label for each of the N pictures; without it a conditional model is told "no label"

    If the variance is learned, denoise.with_variance(x, t) -> (eps, v) tells it too, v in [0, 1] as
    in `learned_variance`.  Raises ValueError for labels the model does not know, or not as many as
    pictures.
    """
    predict = predictor(model, cond)

    def with_variance(x, t):
        output, v = diffusion.split(x, predict(x, t))
        return diffusion.to_eps(x, t, output), v

    def denoise(x, t):
        return with_variance(x, t)[0]

    if diffusion.learned_variance:
        denoise.with_variance = with_variance
    return denoise


def predictor(model, cond=None) -> Callable:
    """predict(x, t) -> what the network says, be it ε, v or a flow's velocity; as `denoiser`."""
    ask = asker(model, cond)

    def predict(x, t):
        with no_grad():
            return ask(Tensor(x), t).data

    return predict


def asker(model, cond=None) -> Callable:
    """ask(x, t) -> what the network says of a Tensor x: a Tensor whose graph leads back to it."""
    labels = None if cond is None else class_labels(model, cond)
    null, team = null_label(model), team_of(model)

    def ask(x, t):
        if labels is not None:
            check_count(labels, x)
            told = labels
        else:
            told = None if null is None else np.full(len(x), null)
        with kernels.single_threaded_blas, team, memory_for(len(x)):
            return model(x, t, told)

    return ask
