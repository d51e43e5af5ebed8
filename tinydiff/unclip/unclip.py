"""The three parts together: pictures from captions, like pictures, and between pictures.

    caption → c → prior → z → decoder → pictures
    picture → z → decoder, from other noise → variations: what z says stays, all else is new
    two pictures → z, z' → slerp(z, z', w) → decoder, from the same noise → what lies between

Source: A. Ramesh et al., "Hierarchical Text-Conditional Image Generation with CLIP Latents", 2022,
sections 2 and 3.  Their variations begin with the noise that DDIM makes of the picture; these begin
with any.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinydiff.backend import to_numpy
from tinydiff.diffusion import Pipeline, slerp
from tinydiff.training.run import CHECKPOINT
from tinydiff.unclip.matcher import Matcher
from tinydiff.unclip.prior import Prior

PARTS = ("clip", "prior", "decoder")


@dataclass(frozen=True)
class UnCLIP:
    """matcher, prior and decoder, and how they draw: guidance scales, and steps of DDIM.

    ``rng`` draws the noise, by default the process's generator.
    """

    matcher: Matcher
    prior: Prior
    decoder: Pipeline
    prior_guidance: float = 1.0
    guidance: float = 2.0
    steps: int = 25

    @classmethod
    def load(cls, folder: str | os.PathLike, **settings) -> UnCLIP:
        """From the runs ``clip``, ``prior`` and ``decoder`` in a folder.

        Raises FileNotFoundError, CheckpointError or HalfTrained where one is not there, ValueError
        where one was trained with another CLIP.
        """
        clip, prior, decoder = (Path(folder) / part / CHECKPOINT for part in PARTS)
        example = "examples/unclip.py"
        matcher = Matcher.load(clip)
        others = Prior.load(prior), Pipeline.load(decoder, finished=True, example=example)
        for part, path in zip(others, (prior, decoder), strict=True):
            if part.settings.get("clip") != matcher.settings:
                raise ValueError(f"{path} was trained with another CLIP than {clip}: train it anew")
        return cls(matcher, *others, **settings)

    def draw(self, captions: Sequence[str], rng: np.random.Generator | None = None) -> np.ndarray:
        """A picture of each caption, uint8 (N, H, W, C)."""
        told = self.matcher.of_captions(captions)
        drawn = self.prior.draw(told, guidance=self.prior_guidance, steps=self.steps, rng=rng)
        return self.decode(drawn, rng)

    def variations(
        self, images: np.ndarray, count: int, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """``count`` pictures that say the same as each of the images: uint8 (N · count, H, W, C)"""
        return self.decode(np.repeat(self.matcher.of_images(images), count, axis=0), rng)

    def between(
        self, first: np.ndarray, second: np.ndarray, weights: Sequence[float], seed: int
    ) -> Iterator[np.ndarray]:
        """For each weight, pictures (N, H, W, C) so far on the way from ``first`` to ``second``."""
        ends = self.matcher.of_images(first), self.matcher.of_images(second)
        for weight in weights:
            yield self.decode(to_numpy(slerp(*ends, weight)), np.random.default_rng(seed))

    def decode(self, z: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """A picture of each vector (N, d), uint8 (N, H, W, C)."""
        settings = {"sampler": "ddim", "steps": self.steps, "guidance": self.guidance}
        return self.decoder.draw(len(z), z, rng=rng, progress=True, **settings)
