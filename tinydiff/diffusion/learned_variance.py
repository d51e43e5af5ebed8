"""A variance that the network learns, between the two that bound it.

The network has twice the channels.  The first half predicts as ever; the second, o, says where
between its bounds the variance of p(x_{t−1} | x_t) lies, on a logarithmic scale:

    ln σ² = v ln β_t + (1 − v) ln β̃_t,    v = (o + 1)/2

v is in [0, 1] where o is in [−1, 1]; nothing holds it there.  L_simple says nothing of σ², so the
variational bound is added to the loss,

    L_hybrid = L_simple + λ L_vlb,    L_vlb = Σ_t L_t,    λ = 0.001
    L_t = KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)),    L_0 = −ln p(x_0 | x_1)

with μ held fixed in L_t: the mean learns from L_simple, the variance from L_vlb.

Source: A. Nichol and P. Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021,
section 3.1.  As in their code, L_t is in bits per dimension.
"""

from __future__ import annotations

import math

import numpy as np

from tinydiff import ops
from tinydiff.diffusion.discretised import discretized_gaussian_log_likelihood
from tinydiff.diffusion.parametrisation import column
from tinydiff.diffusion.schedule import NoiseSchedule
from tinydiff.tensor import Tensor


def split_output(output, x):
    """The network's output for x (N, ..., C) as (prediction, v), each like x.

    Arrays or Tensors.  Raises ValueError unless the output is (N, ..., 2C).
    """
    channels = x.shape[-1]
    expected = (*x.shape[:-1], 2 * channels)
    if output.shape != expected:
        raise ValueError(
            f"model: expected output of shape {expected}, a prediction and a variance for each "
            f"channel, got {output.shape}"
        )
    return output[..., :channels], 0.5 * (output[..., channels:] + 1.0)


def interpolated_log_variance(schedule: NoiseSchedule, t: np.ndarray, v):
    """ln σ² of p(x_{t−1} | x_t), like v (N, ...), an array or a Tensor; t whole steps (N,)."""
    low = column(schedule.posterior_log_variance_clipped[t], v)
    return v * (column(np.log(schedule.betas)[t], v) - low) + low


def bound_in_bits(x0, t: np.ndarray, q: tuple, p: tuple) -> Tensor:
    """L_t of each picture, (N,), in bits per dimension.

    x0  pictures (N, ...) in [−1, 1], of 256 levels
    q   q(x_{t−1} | x_t, x_0): mean, variance and log variance, arrays
    p   p(x_{t−1} | x_t): mean and log variance, arrays or Tensors
    """
    (q_mean, _, q_log_variance), (mean, log_variance) = q, p
    bound = ops.kl_diagonal_gaussians(
        Tensor(q_mean), q_log_variance, mean, log_variance, reduction="none"
    )
    first = t == 0
    if first.any():
        surprise = -discretized_gaussian_log_likelihood(x0, mean, 0.5 * log_variance)
        bound = ops.where(column(first, x0) > 0, surprise, bound)
    return bound.reshape(len(t), -1).mean(axis=1) / math.log(2)
