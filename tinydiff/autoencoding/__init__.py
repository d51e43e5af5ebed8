"""Autoencoding: pictures as fewer numbers, and back, by networks that learn what may be left out.

whiten(model, pictures)                                     # where a new one begins
loss = AutoencoderLoss(model, perceptual=PerceptualDistance(vgg), adversary=Adversary(judge))
trainer = Trainer(model, loss, batches, optimiser, states=loss.states)
compressor = Compressor.load("runs/autoencoder/checkpoint.npz")
latents = compressor.encode(images)                        # and compressor.decode(latents)
"""

from tinydiff.autoencoding.adversary import (
    Adversary,
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
)
from tinydiff.autoencoding.compressor import Compressor
from tinydiff.autoencoding.loss import AutoencoderLoss, laplace_nll
from tinydiff.autoencoding.perceptual import PerceptualDistance
from tinydiff.autoencoding.whitening import whiten

__all__ = [
    "Adversary",
    "AutoencoderLoss",
    "Compressor",
    "PerceptualDistance",
    "adaptive_weight",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "laplace_nll",
    "whiten",
]
