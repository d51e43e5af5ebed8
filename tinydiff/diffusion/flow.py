"""Rectified flow: straight lines from pictures to noise, and the velocity along them.

    x_s = (1−s) x_0 + s ε,    dx_s/ds = ε − x_0,    0 ≤ s ≤ 1

Many lines pass through one x_s; the network learns the mean of their velocities, E[ε − x_0 | x_s].
Following that from noise (s = 1) back to s = 0 makes pictures of the right distribution, on paths
that are nearly straight: a few steps will do.

Sources: X. Liu et al., "Flow Straight and Fast: Learning to Generate and Transfer Data with
Rectified Flow", 2023, equation 1; P. Esser et al., "Scaling Rectified Flow Transformers for
High-Resolution Image Synthesis", 2024, section 3.1 (logit-normal s).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import asarray, randn
from tinydiff.diffusion.conditioning import training_condition
from tinydiff.diffusion.denoiser import predictor
from tinydiff.diffusion.parametrisation import check_pictures, column
from tinydiff.diffusion.schedule import positive_int
from tinydiff.tensor import Tensor

SCALE = 1000.0  # the network is told 1000 s: time embeddings are made for steps 0 … 999


def training_loss(
    model,
    x0,
    *,
    cond=None,
    drop: float = 0.1,
    moments: str = "logit-normal",
    rng: np.random.Generator | None = None,
) -> Tensor:
    """E[ (ε − x_0 − model(x_s, 1000 s, cond))² ], a scalar.

    x0       floating-point pictures (N, ...), as arrays
    cond     labels or tokens for a conditional model, each dropped with probability ``drop``
    moments  "uniform": s ~ U(0, 1); "logit-normal": ln s/(1−s) ~ N(0, 1), mostly in the middle,
             where the velocity is hardest to tell
    rng      draws s, then the noise, then the drops; the process's generator by default

    Raises ValueError or TypeError for arguments that do not fit.
    """
    if moments not in ("uniform", "logit-normal"):
        raise ValueError(f"moments: expected 'uniform' or 'logit-normal', got {moments!r}")
    rng, x0 = backend.rng if rng is None else rng, check_pictures(asarray(x0))
    uniform = moments == "uniform"
    s = rng.random(len(x0)) if uniform else 1 / (1 + np.exp(-rng.standard_normal(len(x0))))
    noise = randn(x0.shape, rng=rng, dtype=x0.dtype)
    told = training_condition(model, cond, x0, drop, rng)
    x_s = x0 + column(s, x0) * (noise - x0)
    return ops.mse_loss(model(Tensor(x_s), SCALE * s, told), noise - x0)


def flow_velocity(model, cond=None) -> Callable:
    """velocity(x, s) -> dx/ds of a trained model: x (N, ...) a backend array, s a number.

    cond  a label for each of the N pictures; without it a conditional model is told "no label"

    Put the model into evaluation mode first.  Raises ValueError for labels that do not fit.
    """
    predict = predictor(model, cond)
    return lambda x, s: predict(x, np.full(len(x), SCALE * s))


def sample_flow(
    velocity: Callable,
    x_1,
    *,
    steps: int = 10,
    method: str = "midpoint",
    start: float = 1.0,
) -> Iterator:
    """From noise x_1 (N, ...) to pictures in equal steps; yields x after each.

    method  "euler": along the velocity at the start of a step; "midpoint": along that in its
            middle, for two evaluations a step and an error of second order
    start   the s at which x_1 is, if there is some of a picture in it

    Raises ValueError for another method, steps < 1 or start outside (0, 1], TypeError unless x_1
    is floating-point.
    """
    if method not in ("euler", "midpoint"):
        raise ValueError(f"method: expected 'euler' or 'midpoint', got {method!r}")
    if not 0 < start <= 1:
        raise ValueError(f"start: expected a number in (0, 1], got {start}")
    x, h = check_pictures(asarray(x_1)), start / positive_int("steps", steps)
    for i in range(steps):
        s = start - i * h
        v = velocity(x, s)
        if method == "midpoint":
            v = velocity(x - h / 2 * v, s - h / 2)
        x = x - h * v
        yield x
