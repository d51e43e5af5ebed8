"""Latent diffusion: diffusion not of pictures, but of what an autoencoder makes of them.

    z_0 = scale · encode(x),    scale = 1 / std of the first batch's latents
    x = decode(z_0 / scale)

The autoencoder has learned what pictures look like close up, once and for all; diffusion has a
sixteenth of the places left, or fewer, and what makes a picture as a whole.  Its noise has a
standard deviation of 1, and a schedule's steps mean what they mean for pictures only if what is
noised has about as much: so the scale is measured.  Latents have no bounds to clamp x_0 to.

Source: R. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
sections 3.2 and 4.1, and appendix G (the scale).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from tinydiff import nn
from tinydiff.autoencoding import Compressor
from tinydiff.backend import to_numpy, xp
from tinydiff.data import Batches
from tinydiff.diffusion.pipeline import Pipeline
from tinydiff.models import Autoencoder, TextEncoder, UNet
from tinydiff.tensor import Tensor
from tinydiff.training import check_settings, load_run


class LatentPipeline(Pipeline):
    """Made from ``settings``, which go into the checkpoint beside the weights: a `Pipeline`'s, with

    image       [H, W, C] of the pictures; maps that it is told, if any, are of the latents' size
    compressor  settings of the `Compressor`

    The checkpoint holds the autoencoder too, which does not learn any more.  A new pipeline gets
    its weights by `take_autoencoder`, and the scale by `measure_scale`.

    Raises ValueError for settings that lack something, have what there is not, or do not fit.
    """

    called, trained_by = "a latent diffusion model", "examples/latent_diffusion.py"

    clip = False

    def __init__(self, settings: Mapping):
        check_settings(settings, "image", "compressor")
        self.compressor = Compressor(settings["compressor"])
        (height, width, channels), f = settings["image"], self.compressor.stride
        if height % f or width % f or channels != self.compressor.image[2]:
            raise ValueError(
                f"image: expected sides divisible by {f} and {self.compressor.image[2]} channels, "
                f"for the compressor, got {tuple(settings['image'])}"
            )
        autoencoder = self.compressor.model
        latents = height // f, width // f, autoencoder.latent_channels
        super().__init__({**settings, "image": latents})
        self.settings, self.image = settings, (height, width, channels)
        self.model = LatentUNet(self.model, autoencoder)

    def take_autoencoder(self, trained: Compressor) -> None:
        """Use the weights of a compressor of the same settings; ValueError if it has others."""
        self.compressor.model.load_state_dict(trained.model.state_dict())

    def measure_scale(self, images: np.ndarray) -> None:
        """Set the scale so that the latents of these pictures have a standard deviation of 1."""
        self.model.scale[...] = 1 / float(self.compressor.encode(images).std())

    def encode(self, images: np.ndarray) -> np.ndarray:
        """z_0 (N, *shape) of pictures (N, H, W, C), uint8 or floats in [−1, 1], on the host"""
        return self.compressor.encode(images) * float(self.model.scale)

    def pictures(self, x) -> np.ndarray:
        return self.compressor.decode(to_numpy(x / self.model.scale))


def load_pipeline(path: str | os.PathLike, *, example: str = "examples/ddpm.py") -> Pipeline:
    """The pipeline of a training run, whatever it diffuses: a `LatentPipeline` or a plain one.

    example  what trains one, for the message if there is none

    Raises FileNotFoundError, or CheckpointError for a file that holds no such run.
    """
    made = lambda settings: (LatentPipeline if "compressor" in settings else Pipeline)(settings)
    return load_run(path, made, kind="a diffusion model", example=example)


class LatentBatches:
    """What `data.Batches` gives, but z_0 in place of pictures: batches[step] is (z_0, labels …)

    Each picture is encoded once, now, and its mirror image too if the batches are flipped.  Raises
    ValueError for batches that are shifted or padded, of which there are too many kinds.
    """

    def __init__(self, batches: Batches, pipeline: LatentPipeline):
        if batches.shift or batches.pad:
            raise ValueError(
                "batches: expected no shift and no pad, since latents are not moved so"
            )
        self.batches, images = batches, batches.dataset.images
        ways = (images, images[:, :, ::-1])[: 1 + batches.flip]
        self.latents = np.stack([pipeline.encode(way) for way in ways])

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> tuple[np.ndarray, ...]:
        chosen, mirrored, _ = self.batches.picks(step)
        way = 0 if mirrored is None else mirrored.astype(int)
        return self.latents[way, chosen], *self.batches.dataset.annotations(chosen, mirrored, 0)


class LatentUNet(nn.Module):
    """A U-Net of latents, called as it is; beside it the frozen autoencoder, and ``scale``."""

    def __init__(self, unet: UNet, autoencoder: Autoencoder):
        self.unet, self.autoencoder = unet, autoencoder.requires_grad_(False)
        for kind in ("num_classes", "embedding", "map_classes"):  # of what it is told, and `text`
            setattr(self, kind, getattr(unet, kind))
        self.register_buffer("scale", xp.ones((), xp.float32))

    @property
    def text(self) -> TextEncoder | None:
        return self.unet.text

    def forward(self, z, t, cond=None) -> Tensor:
        return self.unet(z, t, cond)
