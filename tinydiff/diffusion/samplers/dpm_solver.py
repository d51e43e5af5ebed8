"""DPM-Solver++(2M): a second-order step for one evaluation, since it remembers the one before.

    y' = k y + (1−k) x̂_0                      k = σ'/σ
    x̂_0 = x_0 + (x_0 − x_0,before) h/(2 h_before)       h = ln σ/σ', the length of a step

If x_0 stayed as it is on the way from σ to σ', the first line would be exact.  It does not, and
x̂_0 is the straight line through the last two x_0, half a step ahead.  The SDE form forgets more
of y, k = (σ'/σ)², and makes up for it with fresh noise: + σ' √(1−k) z.

Source: C. Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic
Models", 2022, algorithm 2 and section 5 (SDE-DPM-Solver++(2M)), in the variables of `shared`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from tinydiff.backend import randn
from tinydiff.diffusion.samplers.shared import begin, denoiser_in_sigma, even_log_snr
from tinydiff.diffusion.schedule import NoiseSchedule


def sample_dpm_solver(
    denoise: Callable,
    x_T,
    schedule: NoiseSchedule,
    *,
    steps: int = 20,
    levels: Callable = even_log_snr,
    stochastic: bool = False,
    clip: bool = True,
    rng: np.random.Generator | None = None,
) -> Iterator:
    """One evaluation a step; the first step, and the last, which ends where σ = 0, take x_0 as is.

    stochastic  the SDE form
    levels      levels(schedule, steps) says where steps begin
    """
    D = denoiser_in_sigma(denoise, schedule, clip)
    sigmas, y = begin(x_T, schedule, levels, steps)
    x0 = h = None
    for sigma, after in pairwise(sigmas):
        before, h_before, x0 = x0, h, D(y, sigma)
        h = math.log(sigma / after) if after > 0 else math.inf
        ahead = x0
        if before is not None and after > 0:
            ahead = x0 + (x0 - before) * (h / (2 * h_before))
        k = (after / sigma) ** (1 + stochastic)
        y = k * y + (1 - k) * ahead
        if stochastic and after > 0:
            y = y + after * math.sqrt(1 - k) * randn(y.shape, rng=rng, dtype=y.dtype)
        yield y / math.hypot(1, after)
