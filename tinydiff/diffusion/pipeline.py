"""A diffusion model as one thing: the settings it was made from, its network, its schedule.

pipeline = Pipeline.load("runs/mnist/checkpoint.npz")
images = pipeline.draw(10, range(10), guidance=3.0)
images = of_text.draw(1, ["a red circle above a blue square"], guidance=3.0)
images = of_maps.draw(2, maps, guidance=2.0)              # a class for each pixel, (2, H, W)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from tinydiff import images, nn
from tinydiff.backend import randn, to_numpy
from tinydiff.data import Tokenizer, learned_from
from tinydiff.diffusion.denoiser import denoiser
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.diffusion.guidance import classifier_free
from tinydiff.diffusion.samplers import SAMPLERS
from tinydiff.diffusion.schedule import schedule_named
from tinydiff.diffusion.threshold import dynamic_threshold
from tinydiff.models import UNet
from tinydiff.tensor import Tensor
from tinydiff.training import Trained, check_settings


class Pipeline(Trained):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    image      [H, W, C] of the pictures
    classes    names of the classes; empty for an unconditional model
    unet       keyword settings of `UNet`
    schedule   [a name in `SCHEDULES`, T]
    prediction a name in `parametrisation.TARGET`: "eps", "x0", "v", "score" or "flow"

    and, where they are not left out or None,

    map_classes        names of the classes of semantic maps, without the background, class 0
    words              the vocabulary of captions: ``unet`` then has ``text`` without a vocabulary
    zero_terminal_snr  True: the schedule is stretched, `NoiseSchedule.zero_terminal_snr`
    learned_variance   True: the network has twice the channels, and DDPM takes its variance

    ``shape`` is that of what is diffused, here pictures; ``clip`` whether it lies in [−1, 1].
    ``network`` makes the model of channels in and out and the settings of a `UNet`.
    Raises ValueError for settings that lack something or have what there is not.
    """

    called, trained_by = "a diffusion model", "examples/ddpm.py"
    clip, network = True, UNet

    def __init__(self, settings: Mapping):
        check_settings(settings, "image", "classes", "unet", "schedule", "prediction")
        self.settings = settings
        self.image, self.classes = tuple(settings["image"]), tuple(settings["classes"])
        self.shape = self.image
        schedule = schedule_named(*settings["schedule"])
        if settings.get("zero_terminal_snr"):
            schedule = schedule.zero_terminal_snr()
        learned = bool(settings.get("learned_variance"))
        self.diffusion = GaussianDiffusion(
            schedule, settings["prediction"], learned_variance=learned
        )
        channels, unet, words = self.image[2], dict(settings["unet"]), settings.get("words")
        self.map_classes = tuple(settings.get("map_classes") or ())
        if self.map_classes:
            unet["map_classes"] = 1 + len(self.map_classes)
        self.tokenizer = None
        if words is not None:
            self.tokenizer = Tokenizer(words, unet["text"]["length"])
            unet["text"] = {"vocabulary": self.tokenizer.size, **unet["text"]}
        self.model = self.network(
            channels,
            2 * channels if learned else channels,
            num_classes=len(self.classes) or None,
            **unet,
        )

    def learned_from(self, known: Collection[str]) -> str:
        """Which of the data sets ``known`` by name it learned from; ValueError if from another."""
        return learned_from(self.settings, known)

    def training_loss(self, x0, **settings) -> Tensor:
        """`GaussianDiffusion.training_loss` of its network, for pictures x0 and their ``cond``."""
        return self.diffusion.training_loss(self.model, x0, **settings)

    def denoising(
        self,
        count: int,
        cond: Sequence[int] | Sequence[str] | np.ndarray | None = None,
        *,
        sampler: str = "ddpm",
        steps: int = 50,
        guidance: float = 1.0,
        threshold: float | None = None,
        model: nn.Module | None = None,
        rng: np.random.Generator | None = None,
    ) -> Iterator:
        """x (count, H, W, C) in [−1, 1] after every step from pure noise to pictures.

        cond       for each picture a label, or, if the model was told captions, vectors or maps,
                   one of these; None lets it draw what it likes
        sampler    a name in `samplers.SAMPLERS`; steps is the number of its steps
        guidance   w of classifier-free guidance; 1 is plain conditional
        threshold  quantile of `dynamic_threshold`; None: x_0 is clamped, if it has bounds
        model      what is asked, as model(x, t, cond); by default its own network

        Raises ValueError for what there is not, captions that cannot be read included.
        """
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler is {sampler!r}, expected one of {', '.join(SAMPLERS)}")
        model = (self.model if model is None else model).eval()
        if cond is None:
            if guidance != 1:
                raise ValueError(
                    f"guidance is {guidance}, but there are no labels, captions or maps to guide to"
                )
            denoise = denoiser(model, self.diffusion)
        else:
            told = np.asarray(cond) if self.tokenizer is None else self.tokenizer.encode(cond)
            denoise = classifier_free(model, self.diffusion, told, scale=guidance)
        if threshold is not None:
            if not self.clip:
                raise ValueError(f"threshold is {threshold}, but latents have no bounds to keep")
            denoise = dynamic_threshold(denoise, self.diffusion, quantile=threshold)
        noise = randn((count, *self.shape), rng=rng)
        schedule = self.diffusion.schedule
        learned = sampler == "ddpm" and self.diffusion.learned_variance
        variance = {"variance": "learned"} if learned else {}
        settings = {"steps": steps, "clip": self.clip, "rng": rng, **variance}
        return SAMPLERS[sampler](denoise, noise, schedule, **settings)

    def pictures(self, x) -> np.ndarray:
        """What has been denoised, (N, *shape), as pictures, uint8 (N, H, W, C)."""
        return images.to_uint8(to_numpy(x))

    def draw(
        self,
        count: int,
        cond: Sequence[int] | Sequence[str] | np.ndarray | None = None,
        *,
        batch: int = 100,
        steps: int = 50,
        progress: bool = False,
        **settings,
    ) -> np.ndarray:
        """``count`` pictures, uint8 (count, H, W, C), a batch at a time.

        cond, steps and settings as in `denoising`
        progress  show a progress bar, on which a step of a batch is its share of a picture
        """
        if count < 1:
            raise ValueError(f"count is {count}, expected at least 1")
        if cond is not None and len(cond) != count:
            raise ValueError(f"cond: expected {count}, one for each picture, got {len(cond)}")

        def denoising(start: int, stop: int) -> Iterator:
            part = None if cond is None else cond[start:stop]
            return self.denoising(stop - start, part, steps=steps, **settings)

        return self._drawn(count, denoising, batch, steps, progress)

    def _drawn(
        self, count: int, denoising: Callable, batch: int, steps: int, progress: bool
    ) -> np.ndarray:
        """Pictures of denoising(start, stop), a batch at a time"""
        from tqdm import tqdm  # see tinydiff/training/progress.py

        drawn = []
        # No bar for what is refused: it appears with the first step, if that takes long enough.
        look = {"unit": "image", "unit_scale": True, "delay": 0.1, "disable": not progress}
        with tqdm(total=count, **look) as bar:
            for start in range(0, count, batch):
                stop = min(start + batch, count)
                for x_t in denoising(start, stop):
                    bar.update(min((stop - start) / steps, count - bar.n))  # sums round up
                    x = x_t
                drawn.append(self.pictures(x))
        return np.concatenate(drawn)
