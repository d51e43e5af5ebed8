"""A table of vectors, looked up by integer: labels, tokens."""

from tinydiff import ops
from tinydiff.nn import init
from tinydiff.nn.checks import at_least_one
from tinydiff.nn.module import Module


class Embedding(Module):
    """integers (…) in 0 … num_embeddings−1 → (…, embedding_dim); weight begins as N(0, 1)."""

    def __init__(self, num_embeddings: int, embedding_dim: int):
        at_least_one("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.weight = init.normal((num_embeddings, embedding_dim))

    def forward(self, index):
        return ops.embedding(self.weight, index)
