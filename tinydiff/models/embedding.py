"""A number as a vector of waves, so that a network can tell t = 500 from t = 501.

    e(t) = [sin(t·ω₁) … sin(t·ω_h), cos(t·ω₁) … cos(t·ω_h)],    ω_k = 10000^(−(k−1)/(h−1))

Source: A. Vaswani et al., "Attention is all you need", 2017, section 3.5, as used by J. Ho et al.,
"Denoising diffusion probabilistic models", 2020.
"""

import numpy as np

from tinydiff.backend import asarray, to_numpy


def sinusoidal_embedding(t, size: int):
    """Times (N,), whole or fractional, as an array (N, size) of float32; size even and ≥ 4."""
    if size < 4 or size % 2:
        raise ValueError(f"sinusoidal_embedding: size is {size}, expected an even number ≥ 4")
    half = size // 2
    # Made on the host: N·size numbers are soon moved, and there is float64, so that 999·ω does not
    # lose the digits that tell neighbours apart.
    phase = np.multiply.outer(to_numpy(t), 10000.0 ** (-np.arange(half) / (half - 1)))
    return asarray(np.concatenate([np.sin(phase), np.cos(phase)], axis=1), np.float32)
