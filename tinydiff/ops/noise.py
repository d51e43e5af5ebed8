"""Randomness inside a network."""

from tinydiff import kernels
from tinydiff.tensor import op


@op
def dropout(x, *, p=0.5, rng=None):
    """Each value is zero with probability p, the others are divided by 1 − p.

    Source: N. Srivastava et al., JMLR 2014, in its "inverted" form.  `nn.Dropout` turns it off
    in evaluation.
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p is {p}, expected 0 ≤ p < 1")
    drop = kernels.dropout(x.shape, x.dtype, p, rng)
    return drop(x), (drop,)
