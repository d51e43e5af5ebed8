"""Data sets, as bytes on the host, and batches of them.

Built in: ``digits``.  Found or downloaded: ``mnist``, ``fashion_mnist``.
"""

from tinydiff.data.batches import Batches, ordered
from tinydiff.data.dataset import Dataset
from tinydiff.data.digits import digits
from tinydiff.data.mnist import fashion_mnist, mnist

__all__ = ["Batches", "Dataset", "digits", "fashion_mnist", "mnist", "ordered"]
