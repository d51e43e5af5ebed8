"""CLIP: pictures and captions as vectors of one space, where those that belong together are near.

    logits_ij = e^s · a_i · b_j,    a = image(picture)/‖…‖,  b = text(caption)/‖…‖
    loss = ½ (−mean_i ln softmax_j(logits)_ii − mean_j ln softmax_i(logits)_jj)

Each picture of a batch has to find its caption among all others there, and each caption its
picture; the temperature e^−s is learned.  Nothing else is asked: what a vector comes to say is what
tells pictures apart that captions tell apart.

Both towers are transformers, of words and of the places of a picture, which convolutions have
looked at first; the mean of what they answer becomes the vector by a linear layer.

Sources: A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
2021, section 2.3 and figure 3; convolutions before the transformer: A. Dosovitskiy et al., "An
Image is Worth 16x16 Words", 2021, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import asarray, xp
from tinydiff.models.blocks import residual_stages
from tinydiff.models.checks import pictures
from tinydiff.models.text_encoder import TextEncoder, words_in
from tinydiff.models.transformer import TransformerBlock
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor

TEMPERATURE, COLDEST = 0.07, 0.01  # where e^−s begins, and how low it may become


class CLIP(nn.Module):
    """Called as model(images, tokens): (N, side, side, C), (M, length) → logits (N, M)

    in_channels  of the pictures
    embedding    size of the vectors
    image, text  settings of `ImageTower` and of `TextTower`

    ``model.image(images)`` and ``model.text(tokens)`` are the vectors, (N, embedding), of length 1.
    """

    def __init__(self, in_channels: int, embedding: int, *, image: Mapping, text: Mapping):
        at_least_one("CLIP", in_channels=in_channels, embedding=embedding)
        self.embedding = embedding
        self.image = ImageTower(in_channels, embedding, **image)
        self.text = TextTower(embedding, **text)
        self.log_scale = init.zeros(())
        self.log_scale.data += math.log(1 / TEMPERATURE)

    def forward(self, images, tokens) -> Tensor:
        return self.image(images) @ self.text(tokens).transpose(1, 0) * self.scale

    @property
    def scale(self) -> Tensor:
        """e^s, one over the temperature, which never is below COLDEST"""
        return ops.exp(ops.minimum(self.log_scale, math.log(1 / COLDEST)))


class ImageTower(nn.Module):
    """x (N, side, side, in_channels) → vectors (N, embedding) of length 1

    side           of the pictures, a multiple of patch · 2^(resolutions − 1)
    patch          so many pixels, on a side, become one at the first resolution
    widths, blocks per resolution, from the first down, channels and residual blocks
    depth, heads   of the transformer of the places at the last resolution
    """

    independent_images = True

    def __init__(
        self,
        in_channels: int,
        embedding: int,
        *,
        side: int,
        patch: int = 2,
        widths: Sequence[int] = (48, 96),
        blocks: Sequence[int] = (1, 0),
        norm_groups: int = 8,
        depth: int = 2,
        heads: int = 4,
    ):
        at_least_one("ImageTower", side=side, patch=patch, depth=depth)
        channels, settings = in_channels * patch**2, {"groups": norm_groups}
        self.stages = residual_stages("ImageTower", channels, widths, blocks, **settings)
        self.in_channels, self.side, self.patch = in_channels, side, patch
        self.stride = patch * 2 ** (len(widths) - 1)
        if side % self.stride:
            raise ValueError(f"ImageTower: side is {side}, expected a multiple of {self.stride}")
        width = widths[-1]
        self.place = nn.Embedding((side // self.stride) ** 2, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, embedding, bias=False)

    def forward(self, x) -> Tensor:
        x = pictures(self, x)
        if x.shape[1:3] != (self.side, self.side):
            raise ValueError(f"ImageTower: x has shape {x.shape}, expected sides of {self.side}")
        h = self.stages(ops.pixel_unshuffle(x, factor=self.patch))
        h = h.reshape(len(x), -1, h.shape[3]) + self.place.weight
        for block in self.blocks:
            h = block(h)
        return unit(self.project(self.norm(h).mean(axis=1)))


class TextTower(nn.Module):
    """tokens (N, M) → vectors (N, embedding) of length 1; ``settings`` are a `TextEncoder`'s"""

    independent_images = True

    def __init__(self, embedding: int, **settings):
        self.encoder = TextEncoder(**settings)
        self.project = nn.Linear(self.encoder.width, embedding, bias=False)

    def forward(self, tokens) -> Tensor:
        words = words_in(tokens)
        share = words / words.sum(axis=2, keepdims=True)  # (N, 1, M): the mean over all words
        h = self.encoder(tokens)
        return unit(self.project((Tensor(asarray(share, h.dtype)) @ h).reshape(len(h), -1)))


def unit(h: Tensor) -> Tensor:
    """h (N, d) → h/‖h‖"""
    return h / ops.sqrt(ops.square(h).sum(axis=1, keepdims=True) + 1e-12)


def contrastive_loss(logits: Tensor, meanings=None) -> Tensor:
    """The loss above, a scalar, of logits (N, N), whose diagonal belongs together.

    meanings  integers (N,), equal where two captions of the batch say the same: each is as right
              for the other's picture, and so is left out of those among which that has to choose

    Raises ValueError for logits that are not square, or not as many meanings.
    """
    n = len(logits)
    if logits.shape != (n, n):
        raise ValueError(f"logits: expected (N, N), got {logits.shape}")
    own = np.arange(n)
    if meanings is not None:
        meanings = np.asarray(meanings)
        if meanings.shape != (n,):
            raise ValueError(f"meanings: expected {n} integers, got shape {meanings.shape}")
        same = (meanings[:, None] == meanings) & (own[:, None] != own)
        logits = ops.where(asarray(same), xp.asarray(-math.inf, logits.dtype), logits)
    both = (logits, logits.transpose(1, 0))
    return sum(ops.cross_entropy(each, own) for each in both) / 2
