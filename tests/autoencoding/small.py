"""A small autoencoder and what trains it, for tests of this room."""

import numpy as np

import tinydiff as td
from tinydiff.autoencoding import Adversary, AutoencoderLoss, PerceptualDistance
from tinydiff.backend import asarray
from tinydiff.data import Batches, Dataset
from tinydiff.models import AUTOENCODERS, VGG, PatchDiscriminator
from tinydiff.training import one_cycle_trainer

NETWORK = {"latent_channels": 2, "base_channels": 8, "channel_mults": (1, 2), "norm_groups": 4}
SETTINGS = {"image": (16, 16, 3), "kind": "kl", "autoencoder": NETWORK, "steps": 6}


def pictures(n=3, size=(16, 16), dtype=np.float32, seed=1):
    return asarray(np.random.default_rng(seed).uniform(-1, 1, (n, *size, 3)).astype(dtype))


def autoencoder(kind="kl", dtype=np.float32):
    td.seed(0)
    return AUTOENCODERS[kind](3, **NETWORK, **({"codes": 8} if kind == "vq" else {})).astype(dtype)


def vgg(dtype=np.float32, widths=(4, 6)):
    td.seed(1)
    return VGG(3, 4, widths=widths).astype(dtype)


def discriminator(dtype=np.float32):
    td.seed(2)
    return PatchDiscriminator(3, base_channels=4, layers=1).astype(dtype)


def trainer(kind="kl", start=2):
    """With everything a step can depend on: samples, codes, an opponent that comes at step start"""
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    model = autoencoder(kind)
    loss = AutoencoderLoss(
        model,
        perceptual=PerceptualDistance(vgg()),
        adversary=Adversary(discriminator(), start=start),
    )
    td.seed(5)
    batches = Batches(Dataset("noise", images), 4, seed=1, flip=True)
    return one_cycle_trainer(model, loss, batches, lr=1e-3, steps=6, averaged=2, states=loss.states)
