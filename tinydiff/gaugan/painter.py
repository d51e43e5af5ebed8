"""A generator of pictures from maps as one thing: the settings it was made from, and its network.

painter = Painter.load("runs/paint-spade/checkpoint.npz")
images = painter.draw(maps, rng=np.random.default_rng(0))
images = painter.draw(maps, like=(scenes, their_maps, their_regions))
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydiff import ops
from tinydiff.backend import asarray, key, randn, to_numpy
from tinydiff.gaugan.network import SpadeVAE
from tinydiff.gaugan.regions import regions_of
from tinydiff.gaugan.styles import dealt
from tinydiff.images import to_float, to_uint8
from tinydiff.models import DiagonalGaussian
from tinydiff.models.semantic_map import check_maps, one_hot
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.tensor import Tensor
from tinydiff.training import Trained, check_settings

BATCH = 50


class Painter(Trained):
    """Made from ``settings``, which go into the checkpoint beside the weights:

    image        [H, W, C] of the pictures it learned from; maps to draw may be larger or smaller
    map_classes  names of the classes, without the background, class 0
    spade        keyword settings of `SpadeVAE`, but for channels and map_classes

    Raises ValueError for settings that lack something or have what there is not.
    """

    called, trained_by = "a SPADE generator", "examples/paint.py"

    def __init__(self, settings: Mapping):
        check_settings(settings, "image", "map_classes", "spade")
        self.settings, self.image = settings, tuple(settings["image"])
        self.map_classes = tuple(settings["map_classes"])
        self.model = SpadeVAE(
            self.image[2], map_classes=1 + len(self.map_classes), **settings["spade"]
        )

    def draw(
        self,
        maps: np.ndarray,
        *,
        like: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """A picture of each map, integers (N, H, W): uint8 (N, H, W, C)

        like  scenes, as of `styles`: each map is drawn in the styles of one of them (`dealt`);
              without, each region (`regions_of`) has one of its own, z ~ N(0, I)
        rng   chooses; the process's generator by default

        Raises TypeError or ValueError for maps or scenes that do not fit.
        """
        generator = self.model.generator.eval()
        regions, parts = regions_of(maps), []
        if like is None:
            z = randn((len(maps), 1 + regions.max(initial=0), generator.latent), rng=rng)
        else:
            counts = regions.max(axis=(1, 2), initial=0)
            choices = np.random.default_rng(key(rng=rng))
            z = asarray(dealt(self.styles(*like), like[2], counts, choices))
        with no_grad(), team_of(generator):
            for start in range(0, len(maps), BATCH):
                part = slice(start, start + BATCH)
                parts.append(to_numpy(generator(maps[part], regions[part], z[part]).data))
        return to_uint8(np.concatenate(parts))

    def styles(self, pictures: np.ndarray, maps: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """The mean style of each region in scenes: float32 (S, R, latent), R as it has learned

        pictures  uint8 (S, H, W, C), of any size
        maps      the class at each pixel, integers (S, H, W)
        regions   the region there, 0 for the background, below R
        """
        encoder, classes = self.model.encoder.eval(), self.model.generator.map_classes
        check_maps("styles", maps, pictures.shape[:3], classes - 1)
        x = Tensor(asarray(to_float(pictures)))
        with no_grad():
            moments = encoder(ops.concat([x, Tensor(one_hot(maps, classes))]), regions)
        return to_numpy(DiagonalGaussian(moments).mean.data)
