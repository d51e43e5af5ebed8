"""Ordinary differential equations dy/dt = f(t, y), with steps as long as the error allows.

Seven slopes are combined in two ways, to a step of fifth order and one of fourth:

    k_i = f(t + c_i h, y + h Σ_j a_ij k_j),    y' = y + h Σ_i b_i k_i,    error = h Σ_i e_i k_i

Their difference, ``error``, says whether the step may be kept, and how long the next should be.
The last slope of a step is the first of the next, so a step costs six evaluations.

Sources: J. Dormand and P. Prince, "A family of embedded Runge–Kutta formulae", 1980;
E. Hairer, S. Nørsett and G. Wanner, "Solving Ordinary Differential Equations I", 1993, section
II.4 (the length of the steps).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from tinydiff.backend import asarray, xp

C = (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),  # these are the b_i as well
)
E = (-71 / 57600, 0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40)


def dormand_prince(
    f: Callable, y, start: float, end: float, *, rtol: float = 1e-5, atol: float = 1e-5
) -> Iterator[tuple[float, object]]:
    """Solve dy/dt = f(t, y) from ``start`` to ``end``, up or down; yield (t, y) after every step.

    f      f(t, y) -> dy/dt, a backend array like y; t is a Python number
    y      the value at ``start``: a floating-point backend array of any shape
    rtol, atol  a step is kept if the root mean square of error / (atol + rtol·|y|) is below 1

    The last t is ``end`` exactly.  Each attempt waits for one number of the device, its error.
    Raises ValueError for arguments that do not fit, ArithmeticError where no step is short enough.
    """
    y = asarray(y)
    if y.dtype.kind != "f":
        raise TypeError(f"y: expected a floating-point array, got {y.dtype}")
    if not (math.isfinite(start) and math.isfinite(end) and start != end):
        raise ValueError(f"start, end: expected two different numbers, got {start} and {end}")
    if not (rtol >= 0 and atol > 0 and math.isfinite(rtol + atol)):
        raise ValueError(f"rtol, atol: expected numbers ≥ 0 and > 0, got {rtol} and {atol}")

    t, slope = float(start), f(start, y)
    step = _first_step(f, t, y, slope, end, rtol, atol)
    while t != end:
        longest = 10.0  # times the step before; 1 after an attempt that failed
        while True:
            if not step > 10 * abs(math.ulp(t)):
                raise ArithmeticError(f"at t = {t:g} no step is short enough for the tolerance")
            h = math.copysign(min(step, abs(end - t)), end - t)
            new_t = end if step >= abs(end - t) else t + h
            slopes = [slope]
            for c, row in zip(C[1:], A[1:], strict=True):
                new_y = y + h * _combine(row, slopes)
                slopes.append(f(new_t if c == 1 else t + c * h, new_y))
            allowed = atol + rtol * xp.maximum(xp.abs(y), xp.abs(new_y))
            error = _rms(h * _combine(E, slopes) / allowed)
            if error < 1:
                break
            step = abs(h) * max(0.2, 0.9 * error**-0.2) if math.isfinite(error) else abs(h) / 10
            longest = 1.0
        step = abs(h) * (longest if error == 0 else min(longest, 0.9 * error**-0.2))
        t, y, slope = new_t, new_y, slopes[-1]
        yield t, y


def _first_step(f, t: float, y, slope, end: float, rtol: float, atol: float) -> float:
    """A step whose error should be about a hundredth of what is allowed, from two slopes."""
    allowed = atol + rtol * xp.abs(y)
    size, speed = _rms(y / allowed), _rms(slope / allowed)
    guess = min(1e-6 if min(size, speed) < 1e-5 else 0.01 * size / speed, abs(end - t))
    h = math.copysign(guess, end - t)
    bend = _rms((f(t + h, y + h * slope) - slope) / allowed) / guess
    fastest = max(speed, bend)
    better = max(1e-6, guess * 1e-3) if fastest <= 1e-15 else (0.01 / fastest) ** 0.2
    return min(100 * guess, better, abs(end - t))


def _combine(coefficients, slopes):
    """Σ coefficient · slope"""
    return sum(c * k for c, k in zip(coefficients, slopes, strict=True) if c)


def _rms(x) -> float:
    return float(xp.sqrt(xp.mean(xp.square(x))))
