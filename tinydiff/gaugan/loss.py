"""What a generator of pictures from maps is to minimise.

    the discriminator D learns    ½ (E[max(0, 1 − D(x, m))] + E[max(0, 1 + D(x̂, m))])
    generator and encoder learn   −E[D(x̂, m)] + λ·(E_q |x − x̂| + κ·KL(q(z | x, m) ‖ N(0, I)))

x are pictures, m their maps.  Of a map there are many pictures, and nothing says which of them z is
to stand for: so for half of a batch z is what the encoder says of the true picture, q(z | x), and x̂
is compared with that; for the other half z ~ N(0, I), as when one paints, and only D judges.  D
sees the map beside the picture: a good picture of something else is no good.

|x − x̂| is the mean over pixels and channels, KL is in nats a picture.

Sources: T. Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", 2019,
section 3 and appendix A (hinge losses, the encoder and KL); A. Larsen et al., "Autoencoding beyond
pixels using a learned similarity metric", 2016, section 3 (D sees what was drawn from either z).
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

    likeness   λ ≥ 0
    kl_weight  κ ≥ 0

    The adversary's discriminator, of C + map_classes channels, takes a step first.  ``states`` is
    what a Trainer is to keep besides.
    """

    def __init__(
        self,
        model: SpadeVAE,
        adversary: Adversary,
        *,
        likeness: float = 10.0,
        kl_weight: float = 1e-3,
    ):
        for name, weight in (("likeness", likeness), ("kl_weight", kl_weight)):
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name}: expected a finite number ≥ 0, got {weight}")
        self.model, self.adversary = model, adversary
        self.likeness, self.kl_weight = likeness, kl_weight
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
        unlike = ops.l1_loss(drawn[:half], x[:half]) + self.kl_weight * said.kl().mean()
        self.adversary.learn(real, ops.concat([drawn.detach(), m]))
        return self.adversary.opinion(ops.concat([drawn, m])) + self.likeness * unlike
