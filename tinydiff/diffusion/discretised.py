"""The probability a Gaussian gives to a byte: the last term of the variational bound, L_0.

A picture has 256 levels x = −1, −1 + 2/255, …, 1; the density N(μ, s²) gives each the mass of its
bin, 1/255 to either side.  The first and the last bin are open, so that all masses sum to 1:

    p(x) = Φ((x + 1/255 − μ)/s) − Φ((x − 1/255 − μ)/s),    Φ the normal distribution function

All is computed in logarithms: far from μ, where p itself would be 0, ln p is a number still, and
its gradient leads back.

Source: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020, section 3.3.
"""

from __future__ import annotations

import math

from tinydiff.backend import xp
from tinydiff.kernels.special import erfc, log_erfcx
from tinydiff.tensor import op

_HALF_BIN = 1 / 255
_LAST = 1 - _HALF_BIN  # beyond it, and below its negative, the bins are open
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


@op
def discretized_gaussian_log_likelihood(x, mean, log_scale):
    """ln p(x) in nats: x in [−1, 1], mean μ and log_scale = ln s of shapes that broadcast.

    x is data: there is no derivative with respect to it.
    """
    # Mirrored where need be, a bin lies left of μ, where Φ is small and known to all its digits;
    # an open one has its open end on the left.  In units of s it runs from low to high.
    open_end = xp.abs(x) > _LAST
    sign = xp.where(xp.where(open_end, x, x - mean) > 0, -1, 1).astype(mean.dtype)
    scale = xp.exp(-log_scale)
    half = _HALF_BIN * scale
    centre = sign * (x - mean) * scale
    low, high = centre - half, centre + half

    g_low, g_high = _log_cdf_without_square(low), _log_cdf_without_square(high)
    left = xp.minimum(high, 0)
    ratio = 0.5 * (left - low) * (left + low) + g_low - g_high  # ln Φ(low)/Φ(high)
    kept = xp.where(open_end, 1, -xp.expm1(xp.where(open_end, -1, ratio)))  # p / Φ(high)

    def gradients(g):
        # φ(high)/p; and φ(low)/φ(high) − 1, exact in narrow bins too
        right = xp.maximum(high, 0)
        density = xp.exp(-0.5 * right * right - _LOG_ROOT_2PI - g_high) / kept
        other = xp.where(open_end, -1, xp.expm1(xp.where(open_end, -1, 2 * half * centre)))
        by_mean = sign * scale * density * other
        by_log_scale = density * xp.where(open_end, -high, low * other - 2 * half)
        return None, g * by_mean, g * by_log_scale

    return g_high - 0.5 * left * left + xp.log(kept), lambda needed: gradients


def _log_cdf_without_square(z):
    """ln Φ(z) + ½ min(z, 0)²: what is left once the square, which is huge, is set apart."""
    below = log_erfcx(xp.abs(z) * math.sqrt(0.5)) - math.log(2)
    return xp.where(z < 0, below, xp.log1p(-0.5 * erfc(xp.abs(z) * math.sqrt(0.5))))
