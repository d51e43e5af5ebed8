"""The networks that are measured, with a batch for each and the training that goes with it.

PyTorch's side of them is in `twins.py`.
"""

from __future__ import annotations

import functools
import runpy
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from harness import ROOT

import tinydiff as td
from tinydiff import backend, data, nn, ops, optim, vision
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule
from tinydiff.images import to_float
from tinydiff.metrics import classifying
from tinydiff.models import Classifier, Detector, ImageClassifier, UNet
from tinydiff.training import Trainer

DDPM, DETECT = (
    runpy.run_path(str(ROOT / "examples" / f"{name}.py")) for name in ("ddpm", "detect")
)
DIFFUSION = GaussianDiffusion(NoiseSchedule.cosine(1000), "v")
CELLS = DETECT["SIDE"] // Detector(3, 1, **DETECT["NETWORK"]).stride
GRID = vision.YoloGrid(
    picture=(DETECT["SIDE"],) * 2,
    cells=(CELLS, CELLS),
    anchors=np.linspace(2, 7, DETECT["ANCHORS"])[:, None].repeat(2, axis=1),
    classes=10,
)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): (N, T, width) → (N, T, width)"""

    independent_images = True

    def __init__(self, width: int, heads: int):
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiHeadAttention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(ops.gelu(self.up(self.norm2(x))))


def mean_squares(model, target, *inputs):
    return ops.mse_loss(model(*inputs), td.Tensor(target))


def smooth_cross_entropy(model, target, *inputs):
    return ops.cross_entropy(model(*inputs), target, label_smoothing=0.05)


def diffusion_loss(model, target, x0, t, labels=None):
    """Algorithm 1, which draws its own t, noise and labels to leave out."""
    return DIFFUSION.training_loss(model, x0, cond=labels)


def yolo(model, target, x):
    return vision.yolo_loss(model(x), target, GRID).total


@dataclass(frozen=True)
class Case:
    """A network in training.

    network, settings   the class and its arguments
    shape               of a batch
    loss                loss(model, target, *inputs); the one of this name in `twins` is its twin
    optimiser, rate, clip, decay   Adam or AdamW, learning rate, gradient norm, EMA
    """

    title: str
    network: type[nn.Module]
    settings: dict
    shape: tuple[int, ...]
    loss: Callable = mean_squares
    optimiser: str = "Adam"
    rate: float = 1e-4
    clip: float | None = None
    decay: float | None = None

    def model(self) -> nn.Module:
        """With no weight at zero or one, so that every gradient says something."""
        td.seed(0)
        model, rng = self.network(**self.settings), np.random.default_rng(0)
        for p in model.parameters():
            p.data += backend.asarray(
                np.float32(0.02) * rng.standard_normal(p.shape, dtype=np.float32)
            )
        return model

    def batch(self) -> tuple[np.ndarray | vision.YoloTargets, list[np.ndarray]]:
        """The target, and the network's inputs."""
        rng = np.random.default_rng(1)
        if self.network is Detector:
            scenes = data.shapes("train", self.shape[0], side=self.shape[1])
            truths = vision.objects_of(scenes.labels, scenes.boxes)
            return vision.assign(truths, GRID), [to_float(scenes.images)]
        x, target = rng.standard_normal((2, *self.shape), dtype=np.float32)
        if issubclass(self.network, ImageClassifier):
            return rng.integers(self.settings["num_classes"], size=len(x)), [x]
        if self.network is not UNet:
            return target, [x]
        inputs = [x, np.arange(len(x)) * 1000 // len(x)]
        if "num_classes" in self.settings:
            inputs.append(rng.integers(self.settings["num_classes"], size=len(x)))
        return target, inputs

    def step(self) -> Callable[[], object]:
        """A function that takes one step of a Trainer."""
        model, (target, inputs) = self.model(), self.batch()
        trainer = Trainer(
            model,
            functools.partial(self.loss, model),
            _Same(tuple(map(_on_device, (target, *inputs)))),
            getattr(optim, self.optimiser)(model.parameters(), lr=self.rate),
            ema=None if self.decay is None else optim.EMA(model, self.decay),
            clip=self.clip,
        )
        return functools.partial(next, trainer.run(until=10**9))


def _on_device(entry):
    """On a GPU pictures lie there, as PyTorch's do; labels stay on the host, as a Trainer's do."""
    pictures = isinstance(entry, np.ndarray) and entry.dtype.kind == "f"
    return backend.asarray(entry) if pictures else entry


@dataclass(frozen=True)
class _Same:
    """The same batch at every step."""

    batch: tuple = field(repr=False)

    def __getitem__(self, step: int) -> tuple:
        return self.batch


def unet(title: str, shape: tuple[int, ...], **settings) -> Case:
    """A U-Net on images of that shape, at mean squared error."""
    return Case(title, UNet, {"in_channels": shape[-1], **settings}, shape)


def recipe(data: str, image: tuple[int, int, int]) -> Case:
    """A network of examples/ddpm.py, trained as there."""
    _, settings, batch, steps = DDPM["DATA"][data]
    return Case(
        f"{data} recipe, batch {batch}",
        UNet,
        {"in_channels": image[2], "num_classes": 10, **settings["unet"]},
        (batch, *image),
        diffusion_loss,
        optimiser="AdamW",
        rate=settings["lr"] / 10,
        clip=1.0,
        decay=1 - 5 / steps,
    )


def wide(mults: tuple[int, ...], batch: int) -> Case:
    """The U-Nets of 64 channels on 32 × 32 × 3."""
    settings = {"channel_mults": mults, "attention_levels": (1,), "num_heads": 4}
    return unet(f"U-Net 64·{mults}, batch {batch}", (batch, 32, 32, 3), **settings)


CASES = {
    "unet-122": wide((1, 2, 2), 32),
    "unet-124": wide((1, 2, 4), 16),
    "mnist": recipe("mnist", (28, 28, 1)),
    "classifier": Case(
        f"classifier, batch {classifying.BATCH}",
        Classifier,
        {"in_channels": 1, "num_classes": 10},
        (classifying.BATCH, 28, 28, 1),
        smooth_cross_entropy,
        optimiser="AdamW",
        rate=classifying.PEAK / 10,
        decay=0.998,
    ),
    "detector": Case(
        f"detector, batch {DETECT['BATCH']}",
        Detector,
        {"in_channels": 3, "channels": GRID.channels, **DETECT["NETWORK"]},
        (DETECT["BATCH"], *GRID.picture, 3),
        yolo,
        optimiser="AdamW",
        rate=DETECT["LR"] / 10,
        decay=0.998,
    ),
    "transformer": Case(
        "transformer block, 16 × 256 tokens, width 256",
        TransformerBlock,
        {"width": 256, "heads": 4},
        (16, 256, 256),
    ),
}
