"""What a generator of pictures from maps is to minimise.

    the discriminator D learns    ½ (E[max(0, 1 − D(x, m))] + E[max(0, 1 + D(x̂, m))])
    generator and encoder learn   E_q |x − x̂| + κ·KL(q(z | x, m) ‖ N(0, I)) + ω·a·g,
                                  g = −E[D(x̂, m)],    a = ‖∂|x − x̂|/∂x̂‖ / ‖∂g/∂x̂‖

x are pictures, m their maps.  Of a map there are many pictures, and nothing says which of them z
is to stand for: so for half of a batch z is what the encoder says of the true one, and x̂ is
compared with that; for the other half z ~ N(0, I), as when one paints, and only D judges.  D and
the encoder see the map beside the picture: a good picture of something else is no good, and each
class may have its own use for z.

|x − x̂| is the mean over pixels and channels, KL is in nats a picture.  How much g counts is the
`Adversary`'s to say, which measures a at the picture itself: a D that is sure of itself would
else shout down everything.

Sources: T. Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", 2019,
section 3 and appendix A (hinge losses, the encoder and KL); A. Larsen et al., "Autoencoding beyond
pixels using a learned similarity metric", 2016, section 3 (D sees what was drawn from either z);
P. Esser et al., "Taming Transformers for High-Resolution Image Synthesis", 2021, equation 7 (a).
"""

from __future__ import annotations

import math

from tinydiff import ops
from tinydiff.autoencoding import Adversary
from tinydiff.backend import randn
from tinydiff.gaugan.network import SpadeVAE
from tinydiff.models import DiagonalGaussian
from tinydiff.models.semantic_map import one_hot
from tinydiff.tensor import Tensor


class SpadeLoss:
    """Called as loss(x, maps, regions): pictures (N, H, W, C) in [−1, 1], N ≥ 2, the class and the
    region of each pixel (N, H, W) → a scalar

    kl_weight  κ ≥ 0

    The adversary's discriminator, of C + map_classes channels, takes a step first.  ``states`` is
    what a Trainer is to keep besides.
    """

    def __init__(
        self,
        model: SpadeVAE,
        adversary: Adversary,
        *,
        kl_weight: float = 5e-4,
    ):
        if not 0 <= kl_weight < math.inf:
            raise ValueError(f"kl_weight: expected a finite number ≥ 0, got {kl_weight}")
        self.model, self.adversary, self.kl_weight = model, adversary, kl_weight
        self.states = {"adversary": adversary}

    def __call__(self, x, maps, regions) -> Tensor:
        half = len(x) // 2
        if half == 0:
            raise ValueError(f"x: expected at least 2 pictures, got {len(x)}")
        generator, encoder = self.model.generator, self.model.encoder
        m = Tensor(one_hot(maps, generator.map_classes, x.dtype))
        real = ops.concat([Tensor(x), m])
        said = DiagonalGaussian(encoder(real[:half], regions[:half]))
        free = randn((len(x) - half, *said.mean.shape[1:]), dtype=x.dtype)
        drawn = generator(maps, regions, ops.concat([said.sample(), Tensor(free)], axis=0))
        unlike = ops.l1_loss(drawn[:half], x[:half])
        term = self.adversary.term(unlike, real, ops.concat([drawn, m]), drawn)
        return unlike + self.kl_weight * said.kl().mean() + term
