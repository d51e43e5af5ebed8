"""The prior's network: what may the vector of the picture be, of which a caption is known?

    [W_c c,  τ(t),  W_z z_t,  q]  →  transformer  →  W_o LN(h_q)

A sequence of four: the caption's vector, the step, the picture's vector under noise, and a learned
q, whose place answers.

Source: A. Ramesh et al., "Hierarchical Text-Conditional Image Generation with CLIP Latents", 2022,
section 2.2.  Theirs has the caption's words in the sequence, too, and a causal mask.
"""

from __future__ import annotations

import numpy as np

from tinydiff import nn, ops
from tinydiff.backend import asarray, xp
from tinydiff.models.embedding import sinusoidal_embedding
from tinydiff.models.transformer import TransformerBlock
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class PriorNetwork(nn.Module):
    """Called as model(z_t, t, cond): z_t (N, embedding), t (N,), cond (N, embedding) → like z_t

    cond          the captions' vectors, 0 for "none"
    width         of the transformer, of ``depth`` blocks with ``heads`` each
    """

    independent_images = True

    def __init__(self, embedding: int, *, width: int = 128, depth: int = 2, heads: int = 4):
        at_least_one("PriorNetwork", embedding=embedding, width=width, depth=depth)
        self.embedding, self.width = embedding, width
        self.caption = nn.Linear(embedding, width)
        self.time1, self.time2 = nn.Linear(width, width), nn.Linear(width, width)
        self.noisy = nn.Linear(embedding, width)
        self.question = init.normal((width,))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, embedding)

    def forward(self, z, t, cond) -> Tensor:
        z = z if isinstance(z, Tensor) else Tensor(z)
        for name, value in (("z", z), ("cond", cond)):
            if xp.shape(value) != (len(z), self.embedding):
                shape = (len(z), self.embedding)
                raise ValueError(f"{name}: expected shape {shape}, got {xp.shape(value)}")
        if np.shape(t) != z.shape[:1]:
            raise ValueError(f"t: expected shape {z.shape[:1]}, got {np.shape(t)}")
        waves = asarray(sinusoidal_embedding(t, self.width), z.dtype)
        h = ops.stack(
            [
                self.caption(Tensor(asarray(cond, z.dtype))),
                self.time2(ops.silu(self.time1(Tensor(waves)))),
                self.noisy(z),
                ops.expand(self.question, shape=(len(z), self.width)),
            ],
            axis=1,
        )
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h[:, -1]))
