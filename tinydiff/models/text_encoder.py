"""τ_θ: from the words of a caption to as many vectors, each of which knows the whole sentence.

    h = word[token] + place[position]
    h = h + attention(LN(h)),   h = h + W₂ gelu(W₁ LN(h))        in each block; at last LN(h)

The transformer is unmasked: every word sees all others, before and behind it.  Only padding is seen
by none.  A caption that was left out is one word, NO_CAPTION, whose vector is learned like others.

Sources: A. Vaswani et al., "Attention is all you need", 2017; normalisation before each part:
R. Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020; as what a picture
is told: R. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
section 3.3.
"""

from __future__ import annotations

import numpy as np

from tinydiff import nn
from tinydiff.backend import to_numpy
from tinydiff.data.tokens import NO_CAPTION, PAD
from tinydiff.models.transformer import TransformerBlock
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class TextEncoder(nn.Module):
    """Called as encoder(tokens): integers (N, M), M ≤ length → (N, M, width)

    vocabulary  how many tokens there are, `Tokenizer.size`
    length      of the longest caption
    width       numbers for each word, of which each head of attention has its share

    What comes out where there is padding means nothing: `words_in` says where that is.
    """

    independent_images = True

    def __init__(
        self, vocabulary: int, length: int, *, width: int = 64, depth: int = 2, heads: int = 4
    ):
        at_least_one("TextEncoder", vocabulary=vocabulary, length=length, width=width, depth=depth)
        self.vocabulary, self.length, self.width = vocabulary, length, width
        self.word = nn.Embedding(vocabulary, width)
        self.place = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @property
    def no_caption(self) -> np.ndarray:
        """The tokens (length,) of a picture of which nothing is said."""
        return np.array([NO_CAPTION] + [PAD] * (self.length - 1))

    def forward(self, tokens) -> Tensor:
        mask, tokens = words_in(tokens), to_numpy(tokens)
        if tokens.shape[1] > self.length:
            raise ValueError(
                f"TextEncoder: {tokens.shape[1]} tokens a caption, expected {self.length} at most"
            )
        h = self.word(tokens) + self.place(np.arange(tokens.shape[1]))
        for block in self.blocks:
            h = block(h, mask)
        return self.norm(h)


def words_in(tokens) -> np.ndarray:
    """Where tokens (N, M) are words: a mask (N, 1, M) for attention, the same for all who look.

    Raises ValueError unless there is one in each caption.
    """
    tokens = to_numpy(tokens)
    if tokens.ndim != 2:
        raise ValueError(f"tokens: expected integers (N, M), got shape {tokens.shape}")
    words = tokens != PAD
    if not words.any(axis=1).all():
        raise ValueError("tokens: expected a word in each row, got one of padding only")
    return words[:, None]
