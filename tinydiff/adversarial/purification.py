"""Purification: before a network looks at a picture, a generative model draws it anew.

    x_t = √ᾱ_t x + √(1−ᾱ_t) ε,   from t back to 0 by a sampler: x̂,   then the network: Z(x̂)

What an attack has added is drowned in the noise of step t, and the generative model, which knows
nothing of attacks, does not draw it again; what is larger than the noise stays.  That is SDEdit
(`tinydiff.diffusion.sdedit`) of a picture that is to stay what it is: with little noise the attack
survives, with much the picture does not.

Whoever attacks all of it wants its gradient, and that of many steps of sampling is hard to come by.
But purification changes little, so that backward may take it for the identity (BPDA), and, since
chance has a hand in it, go by the mean over several draws (EOT, which is ``pgd(…, draws=…)``):

    ∂L(x)/∂x ≈ E[∂L(x̂)/∂x̂]

A defence is worth what it holds against that, and not what it holds against an attack on the bare
network.

Sources: W. Nie et al., "Diffusion models for adversarial purification" (DiffPure), ICML 2022,
section 3; A. Athalye et al., "Obfuscated gradients give a false sense of security", ICML 2018,
sections 4.1 (BPDA) and 4.2 (EOT).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from tinydiff.backend import xp
from tinydiff.nn import Module
from tinydiff.nn.checks import is_module
from tinydiff.tensor import Tensor


class Purified(Module):
    """model(x̂): pictures x in [0, 1], (N, H, W, C) → logits (N, K), with fresh noise at each call

    model   a Module of pictures in [0, 1]: see `on_pictures`
    film    film(x, rng=rng) → pictures again and again, the last of which are pure; arrays like x,
            in [−1, 1]: partial(sdedit, denoise, schedule=schedule, strength=0.4)
    rng     draws the noise, the process's generator by default

    In backward x̂ is taken for x.  Raises TypeError unless model is a Module and film can be
    called.
    """

    def __init__(self, model: Module, film: Callable, *, rng: np.random.Generator | None = None):
        is_module(model)
        if not callable(film):
            raise TypeError(f"film: expected a function, got {type(film).__name__}")
        self.model, self.film, self.rng = model, film, rng

    def purify(self, x):
        """Pictures in [0, 1] made pure: an array like x, (N, H, W, C), without a graph.

        Raises ValueError if the film has no pictures.
        """
        last = deque(self.film(2 * x - 1, rng=self.rng), maxlen=1)
        if not last:
            raise ValueError("film: expected pictures, the last of them pure, got none")
        return xp.clip((last[0] + 1) / 2, 0, 1)

    def forward(self, x) -> Tensor:
        x = x if isinstance(x, Tensor) else Tensor(x)
        return self.model(x + (self.purify(x.data) - x.data))  # the same as x̂, and ∂x̂/∂x = 1
