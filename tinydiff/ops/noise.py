"""Randomness inside a network."""

import numpy as np

from tinydiff import backend
from tinydiff.backend import xp
from tinydiff.tensor import op


@op
def dropout(x, *, p=0.5, rng: np.random.Generator | None = None):
    """Each value is zero with probability p, the others are divided by 1 − p.

    Source: N. Srivastava et al., JMLR 2014, in its "inverted" form.  `nn.Dropout` turns it off
    in evaluation.
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p is {p}, expected 0 ≤ p < 1")
    rng = backend.rng if rng is None else rng
    keep = xp.asarray(rng.random(x.shape, dtype=np.float32) >= p)
    scale = keep.astype(x.dtype) / (1 - p)
    return x * scale, (lambda g: g * scale,)
