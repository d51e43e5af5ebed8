"""What an encoder says of a picture: a Gaussian for each number of its latents.

    q(z | x) = N(μ, diag e^l),    z = μ + e^{l/2} ε,  ε ~ N(0, I)
    KL(q ‖ N(0, I)) = ½ Σ (μ² + e^l − 1 − l)

Drawn so, z is a function of μ and l beside noise that knows nothing of them: gradients pass.

Source: D. Kingma and M. Welling, "Auto-Encoding Variational Bayes", 2014, sections 2.4 and 3.
"""

from __future__ import annotations

import numpy as np

from tinydiff import ops
from tinydiff.backend import randn
from tinydiff.tensor import Tensor

LOG_VARIANCES = -30.0, 20.0  # beyond, e^l would be nothing or too much for float32


class DiagonalGaussian:
    """Of moments (N, …, 2c), the c means, then the c logarithms of variances: mean, log_variance.

    The logarithms are clamped to LOG_VARIANCES.  Raises ValueError for an odd number of channels.
    """

    def __init__(self, moments: Tensor):
        if moments.ndim < 2 or moments.shape[-1] % 2:
            raise ValueError(
                "moments: expected (N, …, 2c), as many log-variances as means, "
                f"got shape {moments.shape}"
            )
        low, high = LOG_VARIANCES
        self.mean, log_variance = ops.split(moments, 2)
        self.log_variance = ops.clip(log_variance, low=low, high=high)

    def sample(self, rng: np.random.Generator | None = None) -> Tensor:
        """z (N, …, c); the noise comes from ``rng``, or the process's generator."""
        noise = randn(self.mean.shape, rng=rng, dtype=self.mean.dtype)
        return self.mean + ops.exp(0.5 * self.log_variance) * noise

    def kl(self) -> Tensor:
        """KL(q ‖ N(0, I)) in nats, (N,): the sum over each picture's latents."""
        each = ops.kl_diagonal_gaussians(self.mean, self.log_variance, 0.0, 0.0, reduction="none")
        return each.reshape(len(each), -1).sum(axis=1)
