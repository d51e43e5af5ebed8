"""Six ways to learn a distribution from examples and draw from it, all used alike.

`VAE`, `GAN`, `EnergyModel`, `PixelCNN` (autoregressive), `RealNVP` (a normalising flow) and
`DiffusionModel`: each is a `GenerativeModel`, with a loss, samples, and where there is one a
likelihood.
"""

from tinydiff.generative.autoregressive import PixelCNN
from tinydiff.generative.diffusion import DiffusionModel
from tinydiff.generative.energy import EnergyModel
from tinydiff.generative.flow import RealNVP
from tinydiff.generative.gan import GAN
from tinydiff.generative.model import GenerativeModel
from tinydiff.generative.vae import VAE

__all__ = [name for name in dir() if not name.startswith("_")]
