"""The U-Net that predicts the noise: down to a few pixels, up again, with copies across.

Source: J. Ho et al., "Denoising diffusion probabilistic models", 2020, appendix B, after
O. Ronneberger et al., "U-Net", 2015.  The defaults are their network: for CIFAR-10,
UNet(3, base_channels=128, channel_mults=(1, 2, 2, 2)) has 35,746,307 parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinydiff import nn, ops
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.models.blocks import ResidualBlock, SelfAttentionBlock, zero_init
from tinydiff.models.embedding import sinusoidal_embedding
from tinydiff.models.semantic_map import check_maps, class_means, one_hot
from tinydiff.models.spatial_transformer import SpatialTransformer
from tinydiff.models.text_encoder import TextEncoder, words_in
from tinydiff.nn.checks import at_least_one
from tinydiff.recompute import checkpoint
from tinydiff.tensor import Tensor

TOKENS = 4  # that a vector becomes, for the pixels to look at


class UNet(nn.Module):
    """Called as model(x, t, cond=None): x (N, H, W, in), t (N,), cond (N, …) → (N, H, W, out)

    cond is labels (N,), the tokens (N, M) of captions, vectors (N, embedding), semantic maps
    (N, H, W), or None, by ``num_classes``, ``text``, ``embedding`` and ``map_classes``: one of them
    at most.

    out_channels      channels of the output; default: as many as go in
    base_channels     channels at full resolution
    channel_mults     per level, from full resolution down, the multiple of base_channels; each
                      level halves the image, so H and W must be divisible by 2^(levels − 1)
    num_res_blocks    residual blocks a level on the way down; one more on the way up
    attention_levels  levels (0 = full resolution) with self-attention; the middle always has it
    num_classes       labels 0 … num_classes − 1, and num_classes itself for "none"
    text              settings of a `TextEncoder` that learns with the network: wherever there is
                      attention, the pixels look at its words, too (`SpatialTransformer`)
    embedding         size of a vector that says what is in the picture, 0 for "none": it is added
                      to the time's, and wherever there is attention, the pixels look at TOKENS
                      vectors made of it (A. Ramesh et al., "Hierarchical Text-Conditional Image
                      Generation with CLIP Latents", 2022, section 2.1)
    map_classes       classes 0 … map_classes − 1 of a pixel, and map_classes itself for "none":
                      their `one_hot` channels go in beside x's, and x's `class_means`
    resample          "conv": stride-2 convolution down, nearest neighbour and convolution up;
                      "transpose": up by 4×4 transposed convolution of stride 2
    patch             a pixel-unshuffle stem: patch × patch pixels become the channels of one
    coordinates       two channels more tell each place its row and its column, from −1 to 1
                      (R. Liu et al., "An Intriguing Failing of Convolutional Neural Networks and
                      the CoordConv Solution", 2018)
    times             how many numbers t tells of each image: t is (N, times) if it is more than
                      one, as where x holds several pictures, each with noise of its own level
    recompute         in training, keep what goes into each residual and attention block, and
                      compute what is inside again in backward: less memory, a third more
                      arithmetic, the same gradients.  The attribute may be set at any time.
    """

    independent_images = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        base_channels: int = 64,
        channel_mults: Sequence[int] = (1, 2, 2),
        num_res_blocks: int = 2,
        attention_levels: Sequence[int] = (1,),
        num_classes: int | None = None,
        text: Mapping | None = None,
        embedding: int | None = None,
        map_classes: int | None = None,
        dropout: float = 0.0,
        resample: str = "conv",
        num_heads: int = 1,
        norm_groups: int = 32,
        patch: int = 1,
        coordinates: bool = False,
        times: int = 1,
        recompute: bool = False,
    ):
        super().__init__()
        levels = len(channel_mults)
        at_least_one("UNet", norm_groups=norm_groups, patch=patch, num_heads=num_heads)
        at_least_one("UNet", num_res_blocks=num_res_blocks, times=times)
        told = {"num_classes": num_classes, "embedding": embedding, "map_classes": map_classes}
        at_least_one("UNet", **{name: n for name, n in told.items() if n is not None})
        given = [name for name, value in (*told.items(), ("text", text)) if value is not None]
        if len(given) > 1:
            raise ValueError(f"UNet: there are {' and '.join(given)}, expected one or none of them")
        if levels < 1 or base_channels < 4 or base_channels % 2:
            raise ValueError(
                f"UNet: base_channels is {base_channels}, channel_mults {tuple(channel_mults)}, "
                "expected an even number ≥ 4, and one multiple per level"
            )
        if any(not 0 <= level < levels for level in attention_levels):
            raise ValueError(
                f"UNet: attention_levels {tuple(attention_levels)} must lie in 0 … {levels - 1}"
            )
        if resample not in ("conv", "transpose"):
            raise ValueError(f'UNet: resample is {resample!r}, expected "conv" or "transpose"')
        if any(base_channels * m % norm_groups for m in channel_mults):
            raise ValueError(
                f"UNet: norm_groups={norm_groups} does not divide the channels "
                f"{[base_channels * m for m in channel_mults]}"
            )
        out_channels = in_channels if out_channels is None else out_channels
        self.in_channels, self.num_classes, self.patch = in_channels, num_classes, patch
        self.map_classes, self.times = map_classes, times
        self.base_channels, self.levels, self.recompute = base_channels, levels, recompute
        size = 4 * base_channels
        self.time1 = nn.Linear(times * base_channels, size)
        self.time2 = nn.Linear(size, size)
        self.label = None if num_classes is None else nn.Embedding(num_classes + 1, size)
        self.text = None if text is None else TextEncoder(**text)
        self.embedding = embedding
        if embedding is not None:
            self.meaning = nn.Linear(embedding, size)
            self.tokens = nn.Linear(embedding, TOKENS * embedding)

        def attention(width: int) -> nn.Module:
            settings = {"groups": norm_groups, "heads": num_heads}
            context_dim = embedding if self.text is None else self.text.width
            if context_dim is None:
                return SelfAttentionBlock(width, **settings)
            return SpatialTransformer(width, context_dim, **settings)

        def residual(channels: int, level: int) -> nn.ModuleList:
            """A residual block to this level's channels, and attention where it is asked for."""
            width = base_channels * channel_mults[level]
            settings = {"groups": norm_groups, "dropout": dropout}
            block = nn.ModuleList([ResidualBlock(channels, width, size, **settings)])
            if level in attention_levels:
                block.append(attention(width))
            return block

        channels = base_channels
        seen = in_channels if map_classes is None else 2 * in_channels + map_classes
        self.coordinates = coordinates
        self.stem = nn.Conv2d(seen * patch**2 + 2 * coordinates, channels, 3, padding=1)
        skips = [channels]
        self.down = nn.ModuleList()
        for level, mult in enumerate(channel_mults):
            blocks = nn.ModuleList()
            for _ in range(num_res_blocks):
                blocks.append(residual(channels, level))
                channels = base_channels * mult
                skips.append(channels)
            shrink = None
            if level < levels - 1:
                # "same" on even sizes pads below and right only, as Ho et al.'s code does.
                shrink = nn.Conv2d(channels, channels, 3, stride=2, padding="same")
                skips.append(channels)
            self.down.append(_Level(blocks, shrink))

        self.middle = nn.ModuleList(
            [
                ResidualBlock(channels, channels, size, groups=norm_groups, dropout=dropout),
                attention(channels),
                ResidualBlock(channels, channels, size, groups=norm_groups, dropout=dropout),
            ]
        )

        self.up = nn.ModuleList()
        for level in reversed(range(levels)):
            blocks = nn.ModuleList()
            for _ in range(num_res_blocks + 1):
                blocks.append(residual(channels + skips.pop(), level))
                channels = base_channels * channel_mults[level]
            grow = None
            if level > 0 and resample == "conv":
                grow = nn.Sequential(nn.Upsample(2), nn.Conv2d(channels, channels, 3, padding=1))
            elif level > 0:
                grow = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding="same")
            self.up.append(_Level(blocks, grow))

        self.norm = nn.GroupNorm(norm_groups, channels, silu=True)
        self.head = zero_init(nn.Conv2d(channels, out_channels * patch**2, 3, padding=1))

    def prepare(self, x, t, cond=None) -> tuple:
        """x with its map beside it, the times as waves, and what is told: see `compute`"""
        x = x if isinstance(x, Tensor) else Tensor(x)
        self._check(x, t, cond)
        waves = sinusoidal_embedding(to_numpy(t).reshape(-1), self.base_channels)
        waves = waves.reshape(len(t), self.times * self.base_channels)
        if self.label is not None:
            return x, waves, self.label(cond)
        if self.embedding is not None:
            return x, waves, Tensor(asarray(cond, x.dtype))
        if self.text is not None:
            return x, waves, self.text(cond), words_in(cond)
        if self.map_classes is not None:
            m = one_hot(cond, self.map_classes, x.dtype)
            return ops.concat([x, Tensor(m), class_means(x, m)]), waves
        return x, waves

    def compute(self, x: Tensor, waves, cond: Tensor | None = None, words=None) -> Tensor:
        """cond  the label's row, the vector, or the words (N, M, width), of which ``words`` says
        which are there
        """
        told = self._embed(waves, cond), *self._context(cond, words)
        if self.patch > 1:
            x = ops.pixel_unshuffle(x, factor=self.patch)
        if self.coordinates:
            x = ops.concat([x, _coordinates(x)])
        h = self.stem(x)
        skips = [h]
        for level in self.down:
            for block in level.blocks:
                h = self._run(block, told, h)
                skips.append(h)
            if level.resample is not None:
                h = level.resample(h)
                skips.append(h)
        h = self._run(self.middle, told, h)
        for level in self.up:
            for block in level.blocks:
                h = self._run(block, told, h, skips.pop())
            if level.resample is not None:
                h = level.resample(h)
        h = self.head(self.norm(h))
        return ops.pixel_shuffle(h, factor=self.patch) if self.patch > 1 else h

    def _embed(self, waves, cond: Tensor | None) -> Tensor:
        """Times, and label or vector, as one activated vector (N, 4·base_channels)."""
        embedding = self.time2(ops.silu(self.time1(waves)))
        if self.label is not None:
            embedding = embedding + cond
        if self.embedding is not None:
            embedding = embedding + self.meaning(cond)
        return ops.silu(embedding)

    def _context(self, cond: Tensor | None, words) -> tuple:
        """What the pixels look at: the words (N, M, width) and where they are, what the vector
        says (N, TOKENS, embedding), or nothing."""
        if self.embedding is not None:
            return (self.tokens(cond).reshape(-1, TOKENS, self.embedding),)
        return () if self.text is None else (cond, words)

    def _run(self, block: nn.ModuleList, told: tuple, *parts: Tensor) -> Tensor:
        """The layers of a block, one after the other, the first on the channels of all parts."""
        for layer in block:
            inputs = (layer, told, *parts)
            parts = (checkpoint(_apply, *inputs) if self.recompute else _apply(*inputs),)
        return parts[0]

    def _check(self, x: Tensor, t, cond) -> None:
        step = self.patch * 2 ** (self.levels - 1)
        if x.ndim != 4 or x.shape[3] != self.in_channels or x.shape[1] % step or x.shape[2] % step:
            raise ValueError(
                f"UNet: x has shape {x.shape}, expected (N, H, W, {self.in_channels}) "
                f"with H and W divisible by {step}; pad the images (Batches has pad=) or use "
                "fewer levels"
            )
        wanted = (len(x),) if self.times == 1 else (len(x), self.times)
        if xp.shape(t) != wanted:
            many = "one" if self.times == 1 else self.times
            raise ValueError(f"UNet: t has shape {xp.shape(t)}, expected {many} per image {wanted}")
        self._check_cond(cond, len(x))
        if self.map_classes is not None:
            check_maps("UNet: cond", cond, x.shape[:3], self.map_classes)

    def _check_cond(self, cond, n: int) -> None:
        wanted, axes = "no cond", 0
        if self.map_classes is not None:
            wanted, axes = "maps (N, H, W)", 3
        elif self.text is not None:
            wanted, axes = "tokens (N, M)", 2
        elif self.label is not None:
            wanted, axes = f"labels (N,), {self.num_classes} for none", 1
        elif self.embedding is not None:
            wanted, axes = f"vectors (N, {self.embedding}), 0 for none", 2
        if cond is None:
            fits, came = axes == 0, "is None"
        else:
            shape = xp.shape(cond)
            fits = axes > 0 and len(shape) == axes and shape[0] == n
            fits = fits and self.embedding in (None, shape[-1])
            came = f"has shape {shape}"
        if not fits:
            raise ValueError(f"UNet: cond {came}, expected {wanted} for N = {n}")


class _Level(nn.Module):
    """One resolution: its blocks, and the layer that leads to the next (None at the end)."""

    def __init__(self, blocks: nn.ModuleList, resample: nn.Module | None):
        super().__init__()
        self.blocks, self.resample = blocks, resample


def _coordinates(x: Tensor) -> Tensor:
    """The row and the column of each place of x (N, H, W, C), from −1 to 1: (N, H, W, 2)"""
    n, height, width, _ = x.shape
    rows, columns = (xp.linspace(-1, 1, side, dtype=x.dtype) for side in (height, width))
    grid = xp.empty((n, height, width, 2), x.dtype)
    grid[..., 0], grid[..., 1] = rows[:, None], columns
    return Tensor(grid)


def _apply(layer: nn.Module, told: tuple, *parts: Tensor) -> Tensor:
    h = ops.concat(parts) if len(parts) > 1 else parts[0]
    embedding, *context = told
    return layer(h, embedding) if isinstance(layer, ResidualBlock) else layer(h, *context)
