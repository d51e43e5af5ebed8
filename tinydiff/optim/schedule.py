"""Learning-rate schedules: a schedule is a function step -> learning rate, steps counted from 0.

    schedule = warmup(cosine(2e-3, steps=10_000), steps=500)
    optimiser.lr = schedule(step)

Sources: I. Loshchilov and F. Hutter, "SGDR", 2017 (cosine); P. Goyal et al., "Accurate, large
minibatch SGD", 2017 (warm-up); L. Smith and N. Topin, "Super-convergence", 2018 (one cycle).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """Always lr."""
    return lambda step: lr


def cosine(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """From lr at step 0 down half a cosine to ``final`` at step ``steps``, and no further."""
    _check("cosine", steps)
    return lambda step: _between(lr, final, step / steps)


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """The given schedule, its first ``steps`` steps scaled by 1/steps, 2/steps … 1."""
    _check("warmup", steps)
    return lambda step: schedule(step) * min(1.0, (step + 1) / steps)


def one_cycle(
    peak: float, steps: int, warm: float = 0.3, start: float = 1 / 25, final: float = 4e-6
) -> Schedule:
    """Up half a cosine from start·peak to peak, then down another to final·peak at the last step.

    steps  the length of the run; the last step is steps − 1
    warm   the share of it that goes up
    """
    _check("one_cycle", steps)
    if not 0 < warm < 1:
        raise ValueError(f"one_cycle: warm is {warm}, expected 0 < warm < 1")
    turn = max(warm * steps - 1, 1e-9)
    rest = max(steps - 1 - turn, 1e-9)

    def schedule(step: int) -> float:
        if step < turn:
            return _between(start * peak, peak, step / turn)
        return _between(peak, final * peak, (step - turn) / rest)

    return schedule


def _between(first: float, last: float, way: float) -> float:
    """From first (way = 0) to last (way ≥ 1) along half a cosine."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(way, 1.0)))


def _check(name: str, steps: int) -> None:
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"{name}: steps is {steps!r}, expected an int ≥ 1")
