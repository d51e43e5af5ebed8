"""Layers without parameters that change a picture's shape."""

from tinydiff import ops
from tinydiff.nn.checks import at_least_one
from tinydiff.nn.module import Module


class Flatten(Module):
    """(N, …) → (N, product of the rest), in memory order: of an image, channels run fastest."""

    def forward(self, x):
        return x.reshape(x.shape[0], -1)


class Upsample(Module):
    """(N, H, W, C) → (N, H·scale_factor, W·scale_factor, C), mode "nearest" or "bilinear"."""

    def __init__(self, scale_factor: int = 2, mode: str = "nearest"):
        at_least_one("Upsample", scale_factor=scale_factor)
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f"Upsample: mode is {mode!r}, expected 'nearest' or 'bilinear'")
        self.scale_factor, self.mode = scale_factor, mode

    def forward(self, x):
        nearest = self.mode == "nearest"
        resize = ops.upsample_nearest2d if nearest else ops.upsample_bilinear2d
        return resize(x, scale=self.scale_factor)
