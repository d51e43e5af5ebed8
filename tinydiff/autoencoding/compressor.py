"""An autoencoder as one thing: the settings it was made from, and its network.

compressor = Compressor.load("runs/autoencoder/checkpoint.npz")
latents = compressor.encode(images)                       # f·f pixels become one place
again = compressor.decode(latents)                        # about the images
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_input, to_uint8
from tinydiff.models import AUTOENCODERS, KLAutoencoder
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.tensor import Tensor
from tinydiff.training import Trained, check_settings

BATCH = 32


class Compressor(Trained):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    image        [H, W, C] of the pictures it learned from; others may be larger or smaller
    kind         a name in `models.AUTOENCODERS`
    autoencoder  keyword settings of that network, latent_channels among them

    Called as compressor(images): uint8 (N, H, W, C) → what comes back of them, uint8.  H and W are
    multiples of ``compressor.stride``, f.
    Raises ValueError or TypeError for settings that lack something or have what there is not.
    """

    called, trained_by = "an autoencoder", "examples/autoencoder.py"

    def __init__(self, settings: Mapping):
        check_settings(settings, "image", "kind", "autoencoder")
        kind = settings["kind"]
        if kind not in AUTOENCODERS:
            raise ValueError(f"kind: expected one of {', '.join(AUTOENCODERS)}, got {kind!r}")
        self.settings, self.image = settings, tuple(settings["image"])
        self.model = AUTOENCODERS[kind](self.image[2], **settings["autoencoder"])
        self.stride = self.model.stride

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.decode(self.encode(images))

    def encode(self, images: np.ndarray) -> np.ndarray:
        """The latents of pictures, uint8 or floats in [−1, 1]: float32 (N, H/f, W/f, channels)"""
        return self._through(self.model.encode, to_input(images))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """The pictures of latents (N, h, w, channels): uint8 (N, h·f, w·f, C)

        Raises ValueError for none, and for latents of other channels.
        """
        if not len(latents):
            raise ValueError("decode: expected latents, got none")
        return to_uint8(self._through(self.model.decode, latents))

    def bits(self, images: np.ndarray) -> np.ndarray:
        """How much is told of each picture, (N,): KL divergence in bits, or the codes' numbers."""
        x = to_input(images)
        if isinstance(self.model, KLAutoencoder):
            return self._through(lambda x: self.model.posterior(x).kl(), x) / math.log(2)
        places = x.shape[1] // self.stride * (x.shape[2] // self.stride)
        return np.full(len(x), places * math.log2(self.model.quantiser.codes))

    def _through(self, ask: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
        """ask(x), a batch at a time, evaluating, in as many processes as there are cores."""
        from tqdm import trange  # see tinydiff/training/progress.py

        self.model.eval()
        parts = []
        with no_grad(), team_of(self.model):
            for start in trange(0, len(x), BATCH, desc="autoencoder", delay=2, leave=False):
                parts.append(to_numpy(ask(Tensor(asarray(x[start : start + BATCH]))).data))
        return np.concatenate(parts)
