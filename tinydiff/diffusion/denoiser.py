"""From a trained network to a denoiser, the one thing samplers ask for: denoise(x, t) -> eps.

A denoiser works on backend arrays, remembers no graph, and predicts the noise ε whatever the
network predicts.  Its condition is bound in, so that guidance is a denoiser made of denoisers.
If a variance was learned too, ``denoise.with_variance(x, t)`` tells both, and so does that of
every denoiser made of it.
"""

from __future__ import annotations

from collections.abc import Callable

from tinydiff import kernels
from tinydiff.backend import memory_for
from tinydiff.diffusion.conditioning import check_condition, check_count, nothing_known
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.tensor import Tensor


def denoiser(model, diffusion: GaussianDiffusion, cond=None) -> Callable:
    """denoise(x, t) -> eps: x and eps (N, ...) backend arrays, t (N,) host numbers in 0 … T−1.

    model  called as model(x, t, cond); put it into evaluation mode first, with ``model.eval()``
    cond   a label for each of the N pictures, or the tokens of a caption; without it a conditional
           model is told that nothing is known

    If the variance is learned, denoise.with_variance(x, t) -> (eps, v) tells it too, v in [0, 1] as
    in `learned_variance`.  Raises ValueError for a cond the model does not know, or not as many as
    pictures.
    """
    return from_both(eps_and_variance(model, diffusion, cond), diffusion.learned_variance)


def eps_and_variance(model, diffusion: GaussianDiffusion, cond=None) -> Callable:
    """both(x, t) -> (eps, v), where v is None unless the variance is learned; as `denoiser`."""
    predict = predictor(model, cond)

    def both(x, t):
        output, v = diffusion.split(x, predict(x, t))
        return diffusion.to_eps(x, t, output), v

    return both


def from_both(both: Callable, learned_variance: bool) -> Callable:
    """The denoiser of ``both`` (x, t) -> (eps, v), with a ``with_variance`` if v is learned."""

    def denoise(x, t):
        return both(x, t)[0]

    if learned_variance:
        denoise.with_variance = both
    return denoise


def with_eps_changed(denoise: Callable, change: Callable) -> Callable:
    """The denoiser that says change(x, t, eps) where ``denoise`` says eps; v stays as it is."""

    learned = hasattr(denoise, "with_variance")

    def both(x, t):
        eps, v = denoise.with_variance(x, t) if learned else (denoise(x, t), None)
        return change(x, t, eps), v

    return from_both(both, learned)


def predictor(model, cond=None) -> Callable:
    """predict(x, t) -> what the network says, be it ε, v or a flow's velocity; as `denoiser`."""
    ask = asker(model, cond)

    def predict(x, t):
        with no_grad():
            return ask(Tensor(x), t).data

    return predict


def asker(model, cond=None) -> Callable:
    """ask(x, t) -> what the network says of a Tensor x: a Tensor whose graph leads back to it."""
    cond = None if cond is None else check_condition(model, cond)
    team = team_of(model)

    def ask(x, t):
        told = nothing_known(model, x) if cond is None else cond
        if told is not None:
            check_count(told, x)
        with kernels.single_threaded_blas, team, memory_for(len(x)):
            return model(x, t, told)

    return ask
