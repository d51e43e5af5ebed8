"""Where an autoencoder begins: with latents that are white.

What random layers pass on is mostly what red, green and blue have in common.  So the numbers at a
place all tell the brightness, and training is slow to find that they could tell colours as well.
One look at some pictures mends that: with the mean μ and the covariance V Λ Vᵀ of their latents,
the encoder's last layer is changed so that it says

    (z − μ) V Λ^(−1/2)

in place of z, of mean 0 and covariance 1.  And what a Gaussian draws around that begins close to
it, at σ = e^(QUIET/2): noise as large as all that is said would teach the decoder not to listen.

Source: P. Krähenbühl et al., "Data-dependent initializations of convolutional neural networks",
ICLR 2016, section 3.2 (the last layer only, and whitened in place of scaled).
"""

from __future__ import annotations

import numpy as np

from tinydiff.backend import asarray, to_numpy
from tinydiff.models import Autoencoder, KLAutoencoder
from tinydiff.recording import no_grad

QUIET = -6.0  # log-variance
LEAST = 1e-10  # share of all variance that the least of the directions must have


def whiten(model: Autoencoder, x) -> None:
    """Change the encoder of a new model so that the latents of pictures x (N, H, W, C) are white.

    Raises ValueError if those do not vary in as many directions as they have numbers.
    """
    *_, last = model.encoder.body
    n = model.latent_channels
    with no_grad():
        z = to_numpy(model.encode(x).data).reshape(-1, n).astype(np.float64)
    variances, directions = np.linalg.eigh(np.cov(z.T, ddof=0).reshape(n, n))
    if not variances[0] > LEAST * variances.sum():
        raise ValueError(
            f"x: expected pictures whose {n} latents vary independently, got variances {variances}"
        )
    turn = asarray(directions / np.sqrt(variances), last.weight.dtype)
    last.weight.data[..., :n] = last.weight.data[..., :n] @ turn
    last.bias.data[:n] = (last.bias.data[:n] - asarray(z.mean(axis=0), last.bias.dtype)) @ turn
    if isinstance(model, KLAutoencoder):
        last.bias.data[n:] += QUIET
