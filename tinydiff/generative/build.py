"""The six models at sizes that train in a minute or a few, for points in the plane and pictures,
and the recipes by which they do."""

from __future__ import annotations

from collections.abc import Callable

from tinydiff import optim
from tinydiff.diffusion import NoiseSchedule
from tinydiff.generative.autoregressive import PixelCNN
from tinydiff.generative.diffusion import DiffusionModel
from tinydiff.generative.energy import EnergyModel
from tinydiff.generative.flow import RealNVP
from tinydiff.generative.gan import GAN
from tinydiff.generative.model import GenerativeModel
from tinydiff.generative.networks import (
    Dense,
    DenseInTime,
    Growing,
    Shrinking,
    dense_on_waves,
)
from tinydiff.generative.vae import VAE
from tinydiff.models import UNet
from tinydiff.models.blocks import zero_init
from tinydiff.training import Trainer, one_cycle_trainer

PLANE = 1, 2, 1  # a point: two pixels


def vae(shape) -> VAE:
    latent, width = (2, 128) if shape == PLANE else (24, 512)
    encoder = Dense(shape, (2 * latent,), width, 2)
    decoder = Dense((latent,), (*shape[:2], 2 * shape[2]), width, 2)
    return VAE(shape, encoder, decoder, latent)


def gan(shape) -> GAN:
    if shape == PLANE:
        generator, critic = Dense((4,), shape, 64, 3), dense_on_waves(shape, (1,), 64, 3)
        return GAN(shape, generator, critic, 4, noise=0.05)
    return GAN(shape, Growing(32, shape, 32), Shrinking(shape, (1,), 32), 32, noise=0.2)


def energy(shape) -> EnergyModel:
    if shape == PLANE:
        walk = dict(step=4.5e-4, noise=0.03)
        return EnergyModel(shape, dense_on_waves(shape, (1,), 64, 3), walk, 20, 1000, penalty=0.001)
    walk = dict(step=10.0, noise=0.005)
    return EnergyModel(shape, Shrinking(shape, (1,), 16), walk, 20, 400, penalty=0.1)


def autoregressive(shape) -> PixelCNN:
    return PixelCNN(shape, width=32, layers=2 if shape == PLANE else 5)


def flow(shape) -> RealNVP:
    layers, width = (8, 64) if shape == PLANE else (10, 512)
    networks = [Dense(shape, (*shape[:2], 2 * shape[2]), width, 2) for _ in range(layers)]
    for network in networks:
        zero_init(network.head)  # to begin with, x stays as it is
    return RealNVP(shape, networks)


def diffusion(shape) -> DiffusionModel:
    schedule = NoiseSchedule.cosine(1000)
    if shape == PLANE:
        return DiffusionModel(shape, DenseInTime(shape, 128, 3), schedule, 100)
    unet = UNet(1, base_channels=32, channel_mults=(1, 2), num_res_blocks=1, norm_groups=8, patch=2)
    return DiffusionModel(shape, unet, schedule, 100)


BUILD: dict[str, Callable[[tuple[int, int, int]], GenerativeModel]] = {
    "vae": vae,
    "gan": gan,
    "energy": energy,
    "autoregressive": autoregressive,
    "flow": flow,
    "diffusion": diffusion,
}
"""By name, model = BUILD[name](shape): (1, 2, 1), or (H, W, 1) where 4 divides H and W."""

RECIPES = {
    "vae": ((256, 2e-3, 5000), (128, 2e-3, 4000)),
    "gan": ((256, 1e-3, 4000), (64, 5e-4, 1500)),
    "energy": ((256, 2e-3, 1000), (64, 5e-4, 700)),
    "autoregressive": ((256, 4e-3, 3000), (32, 2e-3, 1500)),
    "flow": ((256, 1e-3, 3000), (128, 1e-3, 1200)),
    "diffusion": ((256, 2e-3, 8000), (64, 2e-3, 1500)),
}
"""By name, for points and for digits of 16×16: pictures a step, learning rate, steps."""


def trainer_of(model: GenerativeModel, batches, lr: float, steps: int) -> Trainer:
    """A `Trainer` by the usual recipe; of a GAN, one for two players

    batches  each a tuple whose first is pictures
    """

    def loss(x, *labels):
        return model.loss(x)

    if not isinstance(model, GAN):
        return one_cycle_trainer(model, loss, batches, lr=lr, steps=steps, clip=1.0)
    # What was right a while ago is so no more, hence the short memory.
    optimiser = optim.Adam(model.parameters(), lr, betas=(0.5, 0.99))
    return Trainer(model, loss, batches, optimiser, ema=optim.EMA(model, 0.999))
