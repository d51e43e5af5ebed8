"""A small painter and what trains it, for tests of this room."""

import numpy as np

import tinydiff as td
from tinydiff import optim
from tinydiff.autoencoding import Adversary
from tinydiff.backend import asarray, to_numpy
from tinydiff.gaugan import Painter, SpadeLoss
from tinydiff.models import PatchDiscriminator
from tinydiff.training import Trainer

SETTINGS = {
    "image": (16, 16, 3),
    "map_classes": ("star", "moon"),
    "spade": {
        "regions": 4,
        "latent": 2,
        "generator": {"widths": (4, 8), "hidden": 4, "norm_groups": 2, "patch": 2},
        "encoder": {"width": 4, "patch": 2},
    },
    "steps": 4,
}


def maps(n=4):
    """Of fields of 4 × 4 pixels"""
    return np.random.default_rng(0).integers(0, 3, (n, 4, 4)).repeat(4, 1).repeat(4, 2)


def regions(n=4):
    return np.random.default_rng(3).integers(0, 4, (n, 4, 4)).repeat(4, 1).repeat(4, 2)


def pictures(n=4):
    return asarray(np.random.default_rng(1).uniform(-1, 1, (n, 16, 16, 3)).astype(np.float32))


def painter() -> Painter:
    td.seed(0)
    return Painter(SETTINGS)


def loss_of(model, weight=0.5, **settings) -> SpadeLoss:
    td.seed(1)
    discriminator = PatchDiscriminator(6, base_channels=4, layers=1)
    return SpadeLoss(model, Adversary(discriminator, lr=1e-3, weight=weight), **settings)


class Batches:
    """The same few pictures and maps at any step"""

    def __getitem__(self, step):
        return to_numpy(pictures()), maps(), regions()


def trainer(lr=1e-3) -> Trainer:
    model = painter().model
    loss, optimiser = loss_of(model), optim.Adam(model.parameters(), lr=lr)
    ema = optim.EMA(model, decay=0.5)
    return Trainer(model, loss, Batches(), optimiser, ema=ema, states=loss.states)
