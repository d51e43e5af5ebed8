"""What an autoencoder is to minimise.

    L = Σ_pixels [ (|x − x̂| + w·d(x, x̂)) / e^s + s ]  +  λ·cost  +  adversary's term

The mean over pictures; s is learned.  Without d, and up to ln 2 a pixel, the sum is −ln p(x | z)
of a Laplace distribution around x̂, of scale e^s.  So with λ = 1 and nothing else, L is the
negative evidence lower bound of a VAE: −E_q ln p(x | z) + KL(q(z | x) ‖ N(0, I)).  With λ as
small as 10⁻⁶ the latents keep almost all they can, and KL only holds them together; then d, the
`PerceptualDistance`, sees to it that what must be left out is what one does not see, and the
`Adversary` that x̂ looks like a picture all the same.

Sources: D. Kingma and M. Welling, "Auto-Encoding Variational Bayes", 2014, equation 3;
R. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022, equation 25
and appendix G; P. Esser et al., "Taming Transformers for High-Resolution Image Synthesis", 2021,
section 3.1; O. Rybkin et al., "Simple and Effective VAE Training with Calibrated Decoders", 2021
(the learned scale).
"""

from __future__ import annotations

import math

from tinydiff import ops
from tinydiff.autoencoding.adversary import Adversary
from tinydiff.autoencoding.perceptual import PerceptualDistance
from tinydiff.models import Autoencoder
from tinydiff.team import team_of
from tinydiff.tensor import Tensor


def laplace_nll(x, x_hat: Tensor, log_scale: Tensor, distance: Tensor | float = 0.0) -> Tensor:
    """Σ_pixels (|x − x̂| + distance)/e^s + s, of each picture, (N,)

    x, x_hat   (N, H, W, C)
    log_scale  s, one number
    distance   of each picture, (N,), added to each of its pixels; or none
    """
    error = ops.l1_loss(x_hat, x, reduction="none").reshape(len(x), -1)
    pixels = error.shape[1]
    error = error.sum(axis=1) + pixels * distance
    return error * ops.exp(-log_scale) + pixels * log_scale


class AutoencoderLoss:
    """Called as loss(x, …): the L of pictures x (N, H, W, C) in [−1, 1], in nats a picture

    What comes after x, labels say, is not looked at: so it is a `Trainer`'s loss.

    model              the `Autoencoder`
    cost_weight        λ ≥ 0 of what a picture costs between encoder and decoder
    perceptual         the distance d, if there is to be one
    perceptual_weight  w ≥ 0
    adversary          the opponent, if there is to be one

    ``states`` is what a Trainer is to keep besides.
    """

    def __init__(
        self,
        model: Autoencoder,
        *,
        cost_weight: float = 1e-6,
        perceptual: PerceptualDistance | None = None,
        perceptual_weight: float = 1.0,
        adversary: Adversary | None = None,
    ):
        for name, weight in (
            ("cost_weight", cost_weight),
            ("perceptual_weight", perceptual_weight),
        ):
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name}: expected a finite number ≥ 0, got {weight}")
        self.model, self.cost_weight = model, cost_weight
        self.perceptual, self.perceptual_weight = perceptual, perceptual_weight
        self.adversary = adversary
        self.states = {} if adversary is None else {"adversary": adversary}
        self._team = None if perceptual is None else team_of(perceptual)

    def __call__(self, x, *_) -> Tensor:
        x_hat, cost = self.model.reconstruct(x)
        distance = 0.0
        if self.perceptual is not None:
            with self._team:
                distance = self.perceptual_weight * self.perceptual(x_hat, x)
        nll = laplace_nll(x, x_hat, self.model.log_scale, distance).mean()
        loss = nll + self.cost_weight * cost.mean()
        if self.adversary is not None:
            loss = loss + self.adversary.term(nll, x, x_hat, self.model.head.weight)
        return loss
