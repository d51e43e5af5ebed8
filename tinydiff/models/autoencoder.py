"""Autoencoders: a picture as fewer numbers, its latents, and back.

    encoder   at each resolution residual blocks, then a convolution of stride 2; in the middle
              attention;  norm, 3×3, 1×1
    decoder   the same, the other way round, with one block more at each resolution
    head      the last layer, 3×3 to pixels

f × f pixels become one place of the latents.  Between encoder and decoder stands what keeps the
latents from being whatever they like: a Gaussian drawn towards N(0, I) (`KLAutoencoder`, whose
plainest case is the VAE), or a codebook (`VQAutoencoder`).  Both say what a picture costs there.

Source: R. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
appendix G.  Their network at f = 4: KLAutoencoder(3, 3, base_channels=128,
channel_mults=(1, 2, 4), num_res_blocks=2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tinydiff import nn, ops
from tinydiff.models.blocks import ResidualBlock, SelfAttentionBlock
from tinydiff.models.checks import pictures
from tinydiff.models.posterior import DiagonalGaussian
from tinydiff.models.quantiser import VectorQuantiser
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor

LOG_SCALE = -2.0  # where s begins: a pixel is off by e^s = 0.14 of the 2 from black to white


class Autoencoder(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → x̂ like x, through its latents

    latent_channels  numbers at each place of the latents
    base_channels    channels at the first resolution
    channel_mults    per resolution, from the first down, the multiple of base_channels
    num_res_blocks   residual blocks a resolution on the way down; one more on the way up
    patch            so many pixels, on a side, become one at the first resolution

    ``stride`` is f = patch·2^(resolutions − 1); H and W are multiples of it.  ``log_scale`` is s of
    the pixels' Laplace distribution, of mean x̂ and scale e^s: see `autoencoding.laplace_nll`.
    """

    def __init__(
        self,
        in_channels: int,
        latent_channels: int,
        said_channels: int,
        *,
        base_channels: int = 32,
        channel_mults: Sequence[int] = (1, 2),
        num_res_blocks: int = 1,
        patch: int = 1,
        norm_groups: int = 32,
    ):
        super().__init__()
        owner = type(self).__name__
        at_least_one(owner, in_channels=in_channels, latent_channels=latent_channels, patch=patch)
        at_least_one(owner, num_res_blocks=num_res_blocks, norm_groups=norm_groups)
        widths = [base_channels * mult for mult in channel_mults]
        if not widths or any(width < 1 or width % norm_groups for width in widths):
            raise ValueError(
                f"{owner}: norm_groups={norm_groups} does not divide the channels {widths}, "
                "or there is no resolution"
            )
        self.in_channels, self.latent_channels = in_channels, latent_channels
        self.patch, self.stride = patch, patch * 2 ** (len(widths) - 1)
        settings = {"blocks": num_res_blocks, "groups": norm_groups}
        self.encoder = Encoder(in_channels * patch**2, widths, said_channels, **settings)
        self.decoder = Decoder(latent_channels, widths[::-1], **settings)
        self.head = nn.Conv2d(widths[0], in_channels * patch**2, 3, padding=1)
        self.log_scale = init.zeros(())
        self.log_scale.data += LOG_SCALE

    def forward(self, x) -> Tensor:
        return self.decode(self.encode(x))

    def encode(self, x) -> Tensor:
        """The latents of pictures: (N, H, W, in_channels) → (N, H/f, W/f, latent_channels)"""
        raise NotImplementedError(f"{type(self).__name__} does not define encode")

    def decode(self, z) -> Tensor:
        """The pictures of latents: (N, h, w, latent_channels) → (N, h·f, w·f, in_channels)"""
        return self._pixels(z)

    def reconstruct(self, x) -> tuple[Tensor, Tensor]:
        """In training: x̂, and what each picture costs between encoder and decoder, (N,)."""
        z, cost = self._bottleneck(x)
        return self._pixels(z), cost

    def _said(self, x) -> Tensor:
        """What the encoder says of pictures: (N, H/f, W/f, said_channels)"""
        return self.encoder(ops.pixel_unshuffle(pictures(self, x), factor=self.patch))

    def _bottleneck(self, x) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} does not define _bottleneck")

    def _pixels(self, z) -> Tensor:
        z = z if isinstance(z, Tensor) else Tensor(z)
        if z.ndim != 4 or z.shape[3] != self.latent_channels:
            raise ValueError(
                f"{type(self).__name__}: z has shape {z.shape}, "
                f"expected (N, h, w, {self.latent_channels})"
            )
        return ops.pixel_shuffle(self.head(self.decoder(z)), factor=self.patch)


class KLAutoencoder(Autoencoder):
    """The encoder says a Gaussian; a picture costs its KL divergence from N(0, I), in nats.

    ``settings`` are those of `Autoencoder`.
    """

    def __init__(self, in_channels: int, latent_channels: int, **settings):
        super().__init__(in_channels, latent_channels, 2 * latent_channels, **settings)

    def posterior(self, x) -> DiagonalGaussian:
        """q(z | x)"""
        return DiagonalGaussian(self._said(x))

    def encode(self, x) -> Tensor:
        """The posterior's means, (N, H/f, W/f, latent_channels)"""
        return self.posterior(x).mean

    def _bottleneck(self, x) -> tuple[Tensor, Tensor]:
        posterior = self.posterior(x)
        return posterior.sample(), posterior.kl()


class VQAutoencoder(Autoencoder):
    """Latents become the nearest of ``codes`` vectors; a picture costs what `VectorQuantiser` says.

    ``settings`` are those of `Autoencoder`.  `encode` gives the latents as they were before that,
    and `decode` takes such: what is drawn anew need not hit a code.
    """

    def __init__(self, in_channels: int, latent_channels: int, *, codes: int = 512, **settings):
        super().__init__(in_channels, latent_channels, latent_channels, **settings)
        self.quantiser = VectorQuantiser(codes, latent_channels)

    def encode(self, x) -> Tensor:
        """What the encoder says, (N, H/f, W/f, latent_channels)"""
        return self._said(x)

    def decode(self, z) -> Tensor:
        """The pictures of the codes nearest to z, (N, h·f, w·f, in_channels)"""
        return self._pixels(self.quantiser.quantised(z if isinstance(z, Tensor) else Tensor(z)))

    def _bottleneck(self, x) -> tuple[Tensor, Tensor]:
        return self.quantiser(self._said(x))


class Encoder(nn.Module):
    """(N, H, W, in_channels) → (N, H', W', out_channels), each of ``widths`` at half the size"""

    independent_images = True

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        out_channels: int,
        *,
        blocks: int,
        groups: int,
    ):
        layers: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], 3, padding=1)]
        before = widths[0]
        for level, width in enumerate(widths):
            if level:
                layers.append(nn.Conv2d(before, before, 3, stride=2, padding="same"))
            layers += _residual(before, width, blocks, groups)
            before = width
        layers += [*_middle(before, groups), nn.GroupNorm(groups, before, silu=True)]
        layers += [nn.Conv2d(before, out_channels, 3, padding=1)]
        layers += [nn.Conv2d(out_channels, out_channels, 1)]
        self.body = nn.Sequential(*layers)

    def forward(self, x) -> Tensor:
        return self.body(x)


class Decoder(nn.Module):
    """(N, h, w, in_channels) → (N, h', w', widths[-1]), each of ``widths`` at twice the size"""

    independent_images = True

    def __init__(self, in_channels: int, widths: Sequence[int], *, blocks: int, groups: int):
        before = widths[0]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, in_channels, 1)]
        layers += [nn.Conv2d(in_channels, before, 3, padding=1), *_middle(before, groups)]
        for level, width in enumerate(widths):
            if level:
                layers += [nn.Upsample(2), nn.Conv2d(before, before, 3, padding=1)]
            layers += _residual(before, width, blocks + 1, groups)
            before = width
        self.body = nn.Sequential(*layers, nn.GroupNorm(groups, before, silu=True))

    def forward(self, z) -> Tensor:
        return self.body(z)


def _residual(before: int, width: int, count: int, groups: int) -> list[nn.Module]:
    return [ResidualBlock(width if i else before, width, groups=groups) for i in range(count)]


def _middle(width: int, groups: int) -> list[nn.Module]:
    first, last = _residual(width, width, 2, groups)
    return [first, SelfAttentionBlock(width, groups=groups), last]


AUTOENCODERS: Mapping[str, type[Autoencoder]] = MappingProxyType(
    {"kl": KLAutoencoder, "vq": VQAutoencoder}
)
"""By name, what stands between encoder and decoder."""
