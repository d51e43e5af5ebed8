"""The decoders of a ladder: one small U-Net for every size of picture it climbs through.

Layer t of a ladder (`tinydiff.diffusion.ladder`) leads from z_{t−1} to z_t, which is as large or
twice as large.  All layers that lead to the same size share a network, which is told t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import to_numpy
from tinydiff.models.unet import UNet
from tinydiff.tensor import Tensor


class LadderDecoders(nn.Module):
    """Called as model(z, t, cond=None): z (N, h, w, C), t (N,), cond (N,) → (N, H, W, C)

    channels       C of the pictures
    sizes          sides of z_0 … z_T, as in `Ladder.sizes`; t counts from 1, and all t of a call
                   lead to one size H.  z has that size, or half of it: then its pixels are doubled
    num_classes    labels 0 … num_classes − 1, and num_classes itself for "none"
    base_channels  of each U-Net, twice as many at half the resolution

    Raises ValueError for arguments that do not fit.
    """

    independent_images = True

    def __init__(
        self,
        channels: int,
        sizes: Sequence[int],
        *,
        num_classes: int | None = None,
        base_channels: int = 48,
        norm_groups: int = 8,
    ):
        super().__init__()
        self.sizes, self.num_classes = tuple(int(size) for size in sizes), num_classes
        outputs = sorted(set(self.sizes[1:]))
        if not outputs or outputs[0] < 2 or any(size % 2 for size in outputs):
            raise ValueError(f"LadderDecoders: sizes {self.sizes}, expected two or more, all even")
        self.place = {size: i for i, size in enumerate(outputs)}
        self.nets = nn.ModuleList()
        for size in outputs:
            # Larger pictures go through 2×2 pixels at a time: a quarter of the arithmetic.
            patch = 2 if size >= 16 else 1
            halves = size % (2 * patch) == 0
            net = UNet(
                channels,
                base_channels=base_channels,
                channel_mults=(1, 2) if halves else (1,),
                num_res_blocks=1,
                attention_levels=(1,) if halves else (),
                num_classes=num_classes,
                resample="transpose",
                norm_groups=norm_groups,
                patch=patch,
            )
            self.nets.append(net)

    def forward(self, z, t, cond=None) -> Tensor:
        z = z if isinstance(z, Tensor) else Tensor(z)
        t = to_numpy(t)
        size = self._size(z, t)
        if z.shape[1] < size:
            z = ops.upsample_nearest2d(z, scale=2)
        return self.nets[self.place[size]](z, t, cond)

    def _size(self, z: Tensor, t: np.ndarray) -> int:
        """The size that the layers t lead to, checked"""
        T = len(self.sizes) - 1
        if t.shape != z.shape[:1] or t.dtype.kind not in "iu" or not 1 <= t.min() <= t.max() <= T:
            raise ValueError(
                f"LadderDecoders: t is {t}, expected a layer in 1 … {T} for each of {len(z)}"
            )
        sizes = {self.sizes[i] for i in t}
        if len(sizes) > 1:
            raise ValueError(f"LadderDecoders: layers t lead to sizes {sorted(sizes)}, not to one")
        (size,) = sizes
        if z.ndim != 4 or z.shape[1:3] not in ((size, size), (size // 2, size // 2)):
            raise ValueError(
                f"LadderDecoders: z has shape {z.shape}, expected pictures of side {size}, or half "
                f"of it, for layers that lead to {size}"
            )
        return size
