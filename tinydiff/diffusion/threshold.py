"""Dynamic thresholding: strong guidance without saturated pictures.

    s = max(1, p-quantile of |x_0|),    x_0 ← clamp(x_0, −s, s) / s

Guidance pushes the predicted x_0 out of [−1, 1].  Clamping it there makes large parts of the
picture plain black and white; this clamps the few largest values and scales the rest back.

Source: C. Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language
Understanding" (Imagen), 2022, section 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tinydiff.backend import xp
from tinydiff.diffusion.denoiser import with_eps_changed
from tinydiff.diffusion.gaussian import GaussianDiffusion


def dynamic_threshold(
    denoise: Callable, diffusion: GaussianDiffusion, *, quantile: float = 0.95
) -> Callable:
    """``denoise`` whose x_0 is so treated, each picture by itself; ``quantile`` in (0, 1] is p.

    Raises ValueError for any other quantile.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile: expected a number in (0, 1], got {quantile}")

    def thresholded(x, t, eps):
        x0 = diffusion.predict_x0(x, t, eps)
        s = xp.maximum(quantile_of(abs(x0), quantile), 1)
        return diffusion.predict_eps(x, t, xp.clip(x0, -s, s) / s)

    return with_eps_changed(denoise, thresholded)


def quantile_of(x, q: float):
    """The q-quantile of each picture's values, (N, 1, …, 1): in line between the two nearest."""
    ordered = xp.sort(x.reshape(len(x), -1), axis=1)
    place = q * (ordered.shape[1] - 1)
    low, high = ordered[:, math.floor(place)], ordered[:, math.ceil(place)]
    return (low + (place % 1) * (high - low)).reshape(-1, *[1] * (x.ndim - 1))
