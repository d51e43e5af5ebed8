"""Dropout as a layer: on in training, off in evaluation."""

from tinydiff import ops
from tinydiff.nn.module import Module


class Dropout(Module):
    """Each value is zero with probability p, the others are divided by 1 − p."""

    def __init__(self, p: float = 0.5):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is {p}, expected 0 ≤ p < 1")
        self.p = p

    def forward(self, x):
        # p = 0 draws nothing: a network without dropout leaves the random stream alone.
        return ops.dropout(x, p=self.p) if self.training and self.p else x
