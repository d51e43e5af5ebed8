"""GauGAN's generator, and the encoder that teaches it what there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping

from tinydiff import nn
from tinydiff.models import SpadeGenerator, StyleEncoder


class SpadeVAE(nn.Module):
    """``generator`` draws maps in given styles, ``encoder`` tells the styles of pictures, and sees
    the map beside them: what a style means may differ from class to class.

    channels     of a picture
    map_classes  the background's included
    regions      the most there are in a picture to learn from
    latent       numbers of a style
    generator    other settings of the `SpadeGenerator`
    encoder      other settings of the `StyleEncoder`
    """

    def __init__(
        self,
        channels: int,
        *,
        map_classes: int,
        regions: int,
        latent: int = 4,
        generator: Mapping | None = None,
        encoder: Mapping | None = None,
    ):
        self.generator = SpadeGenerator(
            channels, map_classes=map_classes, latent=latent, **(generator or {})
        )
        self.encoder = StyleEncoder(
            channels + map_classes, regions, latent=latent, **(encoder or {})
        )
