"""The error function, which NumPy lacks.

    erf(x) = 2/√π ∫₀ˣ e⁻ᵗ² dt

erf(x)/x is an entire, even function, so its Chebyshev interpolant in x² on |x| ≤ 6 converges
geometrically; beyond 6, erf is ±1 to double precision.  The interpolant is computed from the
standard library's scalar erf at import.  Source: L. N. Trefethen, "Approximation Theory and
Approximation Practice", chapter 8.
"""

import math

from tinydiff.backend import xp

_LIMIT = 6.0


def _chebyshev_coefficients(n: int) -> list[float]:
    """Of erf(x)/x on |x| ≤ 6 in u = 2x²/36 − 1 = cos θ, that is x = 6·cos(θ/2)."""
    angles = [math.pi * (j + 0.5) / n for j in range(n)]
    points = [_LIMIT * math.cos(a / 2) for a in angles]
    values = [math.erf(x) / x for x in points]
    c = [
        2 / n * math.fsum(v * math.cos(k * a) for v, a in zip(values, angles, strict=True))
        for k in range(n)
    ]
    return [c[0] / 2, *c[1:]]


_COEFFICIENTS = _chebyshev_coefficients(40)


def erf(x):
    """erf(x), to a few units of the last digit of x's dtype."""
    x = xp.clip(x, -_LIMIT, _LIMIT)
    u = x * x * (2 / _LIMIT**2) - 1
    # Clenshaw's recurrence: b_k = c_k + 2u·b_{k+1} − b_{k+2}
    later, latest = xp.zeros_like(u), xp.zeros_like(u)
    for c in reversed(_COEFFICIENTS[1:]):
        later, latest = latest, c + 2 * u * latest - later
    return x * (_COEFFICIENTS[0] + u * latest - later)
