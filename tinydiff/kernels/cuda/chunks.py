"""How many images a convolution works on at a time, so that what it lays out stays affordable."""

from collections.abc import Iterator

WORKSPACE = 256 << 20  # bytes


def chunks(images: int, elements: int, dtype) -> Iterator[slice]:
    """Slices of the batch, of nearly one size, whose ``elements`` an image fit the workspace"""
    fitting = max(1, WORKSPACE // max(1, elements * dtype.itemsize))
    count = -(-images // fitting)
    size = -(-images // count)
    for low in range(0, images, size):
        yield slice(low, min(low + size, images))
