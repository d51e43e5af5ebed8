"""Cascades: a small picture by one diffusion model, made larger by the next.

    p(x¹, …, xᴷ | c) = p(x¹ | c) Π p(xᵏ | xᵏ⁻¹, c)

A stage that enlarges is a diffusion model of the large picture x whose network sees, beside x_t,
the small one, brought to the same size: u = bilinear(small).  It learns from small pictures that
are the means of f × f pixels of x, but is given what the stage before has drawn, with all its
faults.  So that it does not take them for the truth, both are noised, as pictures are,

    z = √ᾱ_s u + √(1−ᾱ_s) ε,    s = level·(T−1),    level ~ U[0, augmentation] in training,

and the network is told s beside t.  When it draws, the level is chosen: the more noise, the less is
seen of the faults, and of the picture.  This is noise conditioning augmentation.

Sources: J. Ho et al., "Cascaded Diffusion Models for High Fidelity Image Generation", 2022,
section 3; C. Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language
Understanding" (Imagen), 2022, section 2.4.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tinydiff import backend, images, nn, ops
from tinydiff.backend import asarray, randn, to_numpy, xp
from tinydiff.diffusion.conditioning import null_condition
from tinydiff.diffusion.pipeline import Pipeline
from tinydiff.models import UNet
from tinydiff.tensor import Tensor
from tinydiff.training import check_settings


class SuperResolution(Pipeline):
    """Made from ``settings``, which go into the checkpoint beside the weights: a `Pipeline`'s, with

    image         [H, W, C] of the large pictures
    factor        f: small ones are [H/f, W/f, C]
    augmentation  the highest level of noise in training, in [0, 1]

    What a `Pipeline` does for a number of pictures, this does for small ones.  Raises ValueError
    for settings that lack something, have what there is not, or do not fit.
    """

    trained_by = "examples/cascade.py"

    def __init__(self, settings: Mapping):
        check_settings(settings, "image", "factor", "augmentation")
        (height, width, channels), factor = settings["image"], settings["factor"]
        if not isinstance(factor, int) or factor < 2 or height % factor or width % factor:
            raise ValueError(
                f"factor: expected a whole number ≥ 2 that divides {height} and {width}, "
                f"got {factor!r}"
            )
        self.factor, self.augmentation = factor, settings["augmentation"]
        _check_level("augmentation", self.augmentation, 1.0)
        self.small = height // factor, width // factor, channels
        super().__init__(settings)

    @staticmethod
    def network(channels: int, out_channels: int, **unet) -> UNet:
        return UNet(2 * channels, out_channels, times=2, **unet)

    def training_loss(
        self, x0, *, cond=None, rng: np.random.Generator | None = None, **settings
    ) -> Tensor:
        """`GaussianDiffusion.training_loss` of large pictures, a network beside their small selves.

        x0        backend array (N, H, W, C) in [−1, 1]
        cond      labels (N,) or tokens (N, M), if the network is told any
        settings  others of that loss
        """
        rng = backend.rng if rng is None else rng
        level = rng.uniform(0, self.augmentation, len(x0))
        model = self.beside(shrunk(asarray(x0), self.factor), level, rng=rng)
        return self.diffusion.training_loss(model, x0, cond=cond, rng=rng, **settings)

    def beside(self, small, level, *, rng: np.random.Generator | None = None) -> Beside:
        """The network that sees small pictures, augmented: a model of large ones as any other.

        small  backend array (N, h, w, C) in [−1, 1]
        level  of the noise, (N,) in [0, 1]
        """
        s = level * (self.diffusion.schedule.T - 1)
        u = enlarged(small, self.factor)
        z = self.diffusion.q_sample(u, s, randn(u.shape, rng=rng, dtype=u.dtype))
        return Beside(self.model, z, s)

    def denoising(
        self,
        small: np.ndarray,
        cond: Sequence[int] | Sequence[str] | None = None,
        *,
        level: float = 0.0,
        rng: np.random.Generator | None = None,
        **settings,
    ) -> Iterator:
        """x (N, H, W, C) in [−1, 1] after every step from pure noise to large pictures.

        small     pictures (N, h, w, C), uint8 or floats in [−1, 1]
        level     of the noise on them, at most ``augmentation``
        settings  others of `Pipeline.denoising`

        Raises ValueError or TypeError for what there is not, or does not fit.
        """
        small = self._checked(small, cond)
        _check_level("level", level, self.augmentation)
        model = self.beside(asarray(small), np.full(len(small), float(level)), rng=rng)
        return super().denoising(len(small), cond, model=model, rng=rng, **settings)

    def draw(
        self,
        small: np.ndarray,
        cond: Sequence[int] | Sequence[str] | None = None,
        *,
        batch: int = 100,
        steps: int = 50,
        progress: bool = False,
        **settings,
    ) -> np.ndarray:
        """Small pictures made large, uint8 (N, H, W, C), a batch at a time.

        small, cond, steps and settings as in `denoising`; progress as in `Pipeline.draw`
        """
        small = self._checked(small, cond)

        def denoising(start: int, stop: int) -> Iterator:
            part = None if cond is None else cond[start:stop]
            return self.denoising(small[start:stop], part, steps=steps, **settings)

        return self._drawn(len(small), denoising, batch, steps, progress)

    def shrink(self, large: np.ndarray) -> np.ndarray:
        """Small pictures of large ones, uint8 (N, H, W, C), as it learns from them, in bytes"""
        return self.pictures(shrunk(asarray(images.to_float(large)), self.factor))

    def _checked(self, small: np.ndarray, cond) -> np.ndarray:
        """The small pictures as floats in [−1, 1]"""
        small = images.to_input(small)
        if small.shape[1:] != self.small:
            raise ValueError(f"small: expected pictures {self.small}, got shape {small.shape}")
        if cond is not None and len(cond) != len(small):
            raise ValueError(f"cond: expected {len(small)}, one for each picture, got {len(cond)}")
        return small


class Beside(nn.Module):
    """A network that has been shown pictures: model(x_t, t, cond), as losses and denoisers ask.

    network   called as network([x_t, z], [t, s], cond), channels beside channels
    z, s      the pictures (N, H, W, C), an array of the backend, and numbers (N,) about them

    x_t may be of the N pictures several times over, as guidance asks.
    """

    def __init__(self, network: nn.Module, z, s: np.ndarray):
        self.network, self.z, self.s = network, z, s
        for kind in ("num_classes", "embedding", "map_classes"):  # of what it is told, and `text`
            setattr(self, kind, getattr(network, kind, None))

    @property
    def text(self):
        return self.network.text

    def forward(self, x, t, cond=None) -> Tensor:
        times = len(x) // len(self.s)
        seen = ops.concat([x, Tensor(xp.tile(self.z, (times, 1, 1, 1)))])
        return self.network(seen, np.stack([to_numpy(t), np.tile(self.s, times)], axis=1), cond)


def draw_cascade(
    stages: Sequence[Pipeline],
    count: int,
    cond: Sequence[int] | Sequence[str] | np.ndarray | None = None,
    *,
    settings: Sequence[Mapping],
    rng: np.random.Generator | None = None,
    progress: bool = False,
) -> list[np.ndarray]:
    """``count`` pictures as each stage has drawn them, uint8, from the small ones to the large.

    stages    a `Pipeline`, and each `SuperResolution` that goes on from the one before
    cond      labels, captions or vectors, told to the stages that know any; None lets them draw
              what they like
    settings  of each stage, for its ``draw``: guidance, threshold, level …

    Raises ValueError for stages that do not fit each other, a cond of which none of them knows, or
    not as many settings.
    """
    if not stages or len(settings) != len(stages):
        raise ValueError(f"settings: expected one for each of {len(stages)} stages")
    for before, after in itertools.pairwise(stages):
        wanted = getattr(after, "small", None)
        if wanted != before.image:
            raise ValueError(f"stages: one draws pictures {before.image}, the next takes {wanted}")
    know = [null_condition(stage.model) is not None for stage in stages]
    if cond is not None and not any(know):
        raise ValueError("cond: got one, but no stage has learned to be told any")
    drawn, given = [], count
    for stage, knows, chosen in zip(stages, know, settings, strict=True):
        told = cond if knows else None
        given = stage.draw(given, told, rng=rng, progress=progress, **chosen)
        drawn.append(given)
    return drawn


def shrunk(x, factor: int):
    """The means of factor × factor pixels: (N, H, W, C) → (N, H/factor, W/factor, C)"""
    return ops.avg_pool2d(x, kernel=factor).data


def enlarged(x, factor: int):
    """Bilinearly: (N, H, W, C) → (N, H·factor, W·factor, C)"""
    return ops.upsample_bilinear2d(x, scale=factor).data


def _check_level(name: str, level: float, most: float) -> None:
    """ValueError unless it is a number in [0, most]"""
    if not isinstance(level, (int, float)) or not 0 <= level <= most:
        raise ValueError(f"{name}: expected a number in [0, {most}], got {level!r}")
