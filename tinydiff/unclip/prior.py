"""The prior: diffusion of the vectors of pictures, told the vector of a caption.

    z_t = √ᾱ_t z + √(1−ᾱ_t) ε,    loss = E‖f(z_t, t, c) − z‖²

What the network f is asked for is z itself.  A tenth of the captions is left out, so that the rest
can be exaggerated (`diffusion.classifier_free`); of several vectors that are drawn, that which is
nearest to the caption's is taken.

Source: A. Ramesh et al., "Hierarchical Text-Conditional Image Generation with CLIP Latents", 2022,
section 2.2: their equation 2, and two vectors drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from tinydiff.backend import randn, to_numpy
from tinydiff.checks import at_least_one
from tinydiff.diffusion import GaussianDiffusion, classifier_free, sample_ddim
from tinydiff.diffusion.schedule import schedule_named
from tinydiff.models import PriorNetwork
from tinydiff.tensor import Tensor
from tinydiff.training import check_settings
from tinydiff.unclip.matcher import on_sphere
from tinydiff.unclip.part import Part


class Prior(Part):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    embedding  d, how many numbers the vectors are
    prior      keyword settings of `models.PriorNetwork`
    schedule   [a name in `SCHEDULES`, T]

    Raises ValueError or TypeError for settings that lack something or have what there is not.
    """

    called = "a prior"

    def __init__(self, settings: Mapping):
        check_settings(settings, "embedding", "prior", "schedule")
        self.settings = settings
        self.model = PriorNetwork(settings["embedding"], **settings["prior"])
        self.diffusion = GaussianDiffusion(schedule_named(*settings["schedule"]), "x0")

    def training_loss(self, z, captions: np.ndarray) -> Tensor:
        """Of pictures' vectors z (N, d), and those of their captions, (N, d) on the host."""
        return self.diffusion.training_loss(self.model, z, cond=captions)

    def draw(
        self,
        captions: np.ndarray,
        *,
        guidance: float = 1.0,
        steps: int = 25,
        candidates: int = 2,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Vectors that pictures with these captions may have, (N, d), of captions' vectors (N, d).

        guidance    w of classifier-free guidance; 1 is plain conditional
        candidates  how many are drawn of each, from which the nearest to the caption's is taken

        Raises ValueError or TypeError for what does not fit.
        """
        at_least_one(candidates=candidates)
        self.model.eval()
        told = np.repeat(captions, candidates, axis=0)
        denoise = classifier_free(self.model, self.diffusion, told, scale=guidance)
        noise = randn(told.shape, rng=rng)
        schedule = self.diffusion.schedule
        film = sample_ddim(denoise, noise, schedule, steps=steps, clip=False, rng=rng)
        drawn = on_sphere(to_numpy(deque(film, maxlen=1).pop()))
        drawn = drawn.reshape(len(captions), candidates, -1)
        nearest = np.einsum("nkd,nd->nk", drawn, captions).argmax(axis=1)
        return drawn[np.arange(len(captions)), nearest]
