"""Data sets, as bytes on the host, and batches of them.

Built in: ``digits``.  Found or downloaded: ``mnist``.
"""

from tinydiff.data.batches import Batches, ordered
from tinydiff.data.dataset import Dataset
from tinydiff.data.digits import digits

__all__ = ["Batches", "Dataset", "digits", "ordered"]
